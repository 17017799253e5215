# SPDX-License-Identifier: Apache-2.0
"""One request to a system that may be slow, busy, endless or hostile: bounded in time and size, without redirects."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from yarl import URL

from nerv.errors import Overloaded, Unavailable
from nerv.limits import check_json_depth
from nerv.sync.errors import LoadRefused

CHUNK = 65_536
JSON_DEPTH = 32
BUSY = (429, 503)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one answer may take: bytes of its body, seconds for all of it."""

    body: int = 8 * 1024 * 1024
    seconds: float = 30.0


class Pace:
    """Lets so many requests go in a second; without a number, all."""

    def __init__(self, rate: float | None) -> None:
        self._gap = 0.0 if rate is None else 1.0 / rate
        self._next = 0.0

    def wait(self, now: float) -> float:
        """The seconds that the next request has to wait, which with that has its turn."""
        at = max(now, self._next)
        self._next = at + self._gap
        return at - now


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    url: URL
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body. Raises LoadRefused where it is no JSON."""
        try:
            check_json_depth(self.body, JSON_DEPTH)
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise LoadRefused(f"{place(self.url)} answers {self.status} with what is no JSON: {error}") from None


async def ask(
    session: aiohttp.ClientSession, method: str, url: URL, headers: Mapping[str, str], bounds: Bounds,
    body: bytes | None = None,
) -> Answer:  # fmt: skip
    """Send a request. Raises Overloaded with the wait that the system asks for, Unavailable where no whole answer came in time
    (of a write, nobody knows what became of it then), LoadRefused for one that is too large or packed.
    """
    # A packed answer could be any size unpacked, so none is asked for.
    sent = {"accept": "application/json", "accept-encoding": "identity", **headers}
    try:
        async with asyncio.timeout(bounds.seconds):
            async with session.request(method, url, headers=sent, data=body, allow_redirects=False) as answer:
                if answer.status in BUSY:
                    raise Overloaded(f"{place(url)} answers {answer.status}", retry_after=_wait(answer.headers))
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise LoadRefused(f"{place(url)} packs its answer, though that was not asked for")
                return Answer(url, answer.status, answer.headers, await _body(answer, url, bounds))
    except TimeoutError:
        raise Unavailable(f"{place(url)} did not answer whole within {bounds.seconds:g} s") from None
    except aiohttp.ClientError as error:
        raise Unavailable(f"{place(url)}: {type(error).__name__}: {error}") from error


async def _body(answer: aiohttp.ClientResponse, url: URL, bounds: Bounds) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_chunked(CHUNK):
        size += len(part)
        if size > bounds.body:
            raise LoadRefused(f"{place(url)} answers with more than {bounds.body} bytes; ask it for smaller pages")
        parts.append(part)
    return b"".join(parts)


def _wait(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` says: seconds, or a date. None where it says nothing that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def place(url: URL) -> str:
    """An address without what may be secret: user, password, query."""
    return str(url.with_user(None).with_query(None).with_fragment(None))
