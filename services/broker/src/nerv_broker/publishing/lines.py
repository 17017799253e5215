# SPDX-License-Identifier: Apache-2.0
"""Publishing line by line: events as they come, outcomes as they are known, in constant memory whatever the length."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from nerv.cloudevents.json_format import from_structured
from nerv.errors import NervError, Refused, Retry, TooLarge
from nerv.limits import Limits, check_event_size, check_json_depth
from nerv.service import Request
from nerv.types import Event
from nerv_broker.publishing.taking import CanPublish, Taken, document, take

NDJSON = "application/x-ndjson"
PATIENCE_SECONDS = 15.0  # for Kafka, or the owners of keys, to take what they did not take at first
PAUSE_SECONDS = 0.2

Line = tuple[int, bytes]


class Conversation(Response):
    """An answer that is made while the request is still being read; the stock one would read the request's body away."""

    def __init__(self, pieces: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(None, 200, {"cache-control": "no-store", "x-accel-buffering": "no"}, media_type)
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces as they come."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def publish_lines(request: Request[CanPublish], topic: str) -> Response:
    """An answer with a line for each line of the request, in order: where its event stands, or why it does not.

    Nothing is read while what was read is not published: who sends faster is held up by the connection.
    """
    return Conversation(_told(request, topic), NDJSON)


async def _told(request: Request[CanPublish], topic: str) -> AsyncIterator[bytes]:
    limits = request.deps.settings.limits
    try:
        async for lines in batches(request.pieces(), limits):
            yield b"".join([orjson.dumps(one) + b"\n" for one in await _published(request, topic, lines)])
    except TooLarge as error:
        yield orjson.dumps(_fault(error)) + b"\n"  # where the next line begins is not known, and so the answer ends
    except ClientDisconnect:
        return


async def batches(pieces: AsyncIterator[bytes], limits: Limits) -> AsyncIterator[list[Line]]:
    """The lines of a body with their numbers from 1, as many at a time as have come, and no more than a batch may have.

    Empty lines count, and are left out. Raises TooLarge for a line that is longer than a body may be.
    """
    rest, number = b"", 0
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > limits.body:
            raise TooLarge(f"line {number + len(whole) + 1} has more than {limits.body} bytes (NERV_LIMITS__BODY)")
        numbered = enumerate(whole, start=number + 1)
        number += len(whole)
        while part := list(islice(numbered, limits.batch)):
            if filled := [(n, line) for n, line in part if line.strip()]:
                yield filled
    if rest.strip():
        yield [(number + 1, rest)]


async def _published(request: Request[CanPublish], topic: str, lines: Sequence[Line]) -> list[dict[str, object]]:
    limits = request.deps.settings.limits
    told: dict[int, dict[str, object]] = {}
    events: dict[int, Event[bytes]] = {}
    for number, line in lines:
        try:
            events[number] = _event(line, limits)
        except NervError as error:
            told[number] = _fault(error)
    for number, outcome in (await _settled(request, topic, events)).items():
        told[number] = document(events[number], outcome)
    return [{"line": number} | told[number] for number, _ in lines]


def _event(line: bytes, limits: Limits) -> Event[bytes]:
    check_json_depth(line, limits.json_depth)
    event = from_structured(line)
    check_event_size(len(event.data), limits)
    return event


def _fault(error: NervError) -> dict[str, object]:
    return {"error": type(error).__name__, "detail": error.detail}


async def _settled(request: Request[CanPublish], topic: str, events: dict[int, Event[bytes]]) -> dict[int, Taken]:
    """The outcome of each event, by its line. What is not taken now is sent again for a while, all in order."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    outcomes: dict[int, Taken] = {}
    left = dict(events)
    while left:
        found = await _taken(request, topic, left)
        outcomes |= found
        left = {number: left[number] for number, one in found.items() if _later(one)}
        if left:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE_SECONDS)
    return outcomes


def _later(outcome: Taken) -> bool:
    return isinstance(outcome, NervError) and outcome.retry is Retry.LATER


async def _taken(request: Request[CanPublish], topic: str, events: dict[int, Event[bytes]]) -> dict[int, Taken]:
    """The outcomes; an event that does not fit, or is refused by a middleware, does not keep the others from being published."""
    refused: dict[int, Taken] = {}
    left = dict(events)
    while left:
        numbers = list(left)
        try:
            outcomes = await take(request, topic, list(left.values()), numbers)
            return refused | dict(zip(numbers, outcomes, strict=True))
        except Refused as error:
            faults = list(_faults(error, numbers))
            refused |= dict(faults)
            left = {number: event for number, event in left.items() if number not in refused}
        except NervError as error:
            return refused | dict.fromkeys(numbers, error)
    return refused


def _faults(error: Refused, numbers: Sequence[int]) -> Iterator[tuple[int, NervError]]:
    """Which lines a refusal is about; all, where it does not say."""
    named: list[Any] = [fault for fault in error.errors if "index" in fault]
    for fault in named:
        yield numbers[fault["index"]], type(error)(str(fault["detail"]), errors=fault.get("errors") or ())
    if not named:
        yield from ((number, error) for number in numbers)
