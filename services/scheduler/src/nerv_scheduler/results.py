# SPDX-License-Identifier: Apache-2.0
"""Results: small ones stand in history and in the queue, large ones in a store of the app's choice, and there only by reference.

The store is anything that fsspec reaches by a URL. A name is made of run, node and content, so that attempts disturb no other's,
and what is read is what was recorded. It is written before it is recorded: dying in between leaves a file that nobody names.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import fsspec
import orjson
import structlog

from nerv.errors import Misconfigured, TooLarge, Unavailable
from nerv.workflows import PermanentError
from nerv_scheduler.patience import Patience
from nerv_scheduler.record import RunRecord, Stored, decoded

log = structlog.get_logger(__name__)

T = TypeVar("T")

INLINE_BYTES = 64 * 1024
NAME_CHARACTERS = 100  # of a run and of a node
SECONDS = 60.0  # one read or write may take so long; then it is tried again


class Results:
    """Keeps and fetches results. `url` is where large ones are put; none are without one. `most` bytes has a result."""

    def __init__(self, url: str | None, most: int, patience: Patience) -> None:
        self._patience = patience
        self._most = most
        self._url = url
        self._files: Any = None
        if url is not None:
            self._files, self._root = _opened(url)

    async def kept(self, run: str, node: str, value: Any) -> Any:
        """The value, or a reference to it once it is in the store. Raises TooLarge."""
        if self._files is None or isinstance(value, Stored):
            return value
        data = orjson.dumps(value)
        if len(data) <= INLINE_BYTES:
            return value
        if len(data) > self._most:
            raise TooLarge(f"a result has at most {self._most} bytes (NERV_SCHEDULER__RESULT_BYTES), not {len(data)}")
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        name = _name(run, node, digest)
        await self._patience(lambda: self._call(lambda: self._write(name, data)))
        return Stored(name, len(data), digest)

    async def value(self, kept: bytes) -> Any:
        """What the queue keeps of a node's result, as it was returned. Raises PermanentError when the store has lost it."""
        return await self.fetched(decoded(kept))

    async def fetched(self, value: Any) -> Any:
        """A value, fetched if it is a reference. Raises PermanentError when the store has lost it."""
        if not isinstance(value, Stored):
            return value
        if self._files is None:
            raise PermanentError(f"result {value.name} is in a store, and none is set: NERV_SCHEDULER__RESULTS")
        data = await self._patience(lambda: self._call(lambda: self._read(value)))
        return orjson.loads(data)

    async def filled(self, record: RunRecord, names: Iterable[str]) -> RunRecord:
        """A record with the results of these nodes themselves. Raises as above."""
        large = [name for name in names if isinstance(record.node(name).result, Stored)]
        if not large:
            return record
        nodes = {
            name: replace(record.node(name), result=await self.fetched(record.node(name).result)) for name in large
        }
        return replace(record, nodes={**record.nodes, **nodes})

    def url(self, stored: Stored) -> str:
        """Where people find it."""
        return f"{self._url}/{stored.name}" if self._url is not None else stored.name

    def _write(self, name: str, data: bytes) -> None:
        path = f"{self._root}/{name}"
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, data)

    def _read(self, stored: Stored) -> bytes:
        data: bytes = self._files.cat_file(f"{self._root}/{stored.name}")
        if hashlib.blake2b(data, digest_size=16).hexdigest() != stored.digest:
            raise PermanentError(
                f"result {stored.name} in the store is not what was recorded; restart the step that made it"
            )
        return data

    async def _call(self, function: Callable[[], T]) -> T:
        """In a thread. Raises Unavailable, and PermanentError for what is not there."""
        try:
            async with asyncio.timeout(SECONDS):
                return await asyncio.to_thread(function)
        except FileNotFoundError as error:
            raise PermanentError(f"the store has no result {error}; restart the step that made it") from None
        except PermanentError:
            raise
        except Exception as error:  # each kind of store has errors of its own
            log.warning("results.unreachable", error=f"{type(error).__name__}: {error}")
            raise Unavailable(f"the store of results did not answer: {type(error).__name__}: {error}") from error


def _name(run: str, node: str, digest: str) -> str:
    """A name that is read easily, and no longer than file systems take."""
    short = [quote(text, safe="")[:NAME_CHARACTERS] for text in (run, node)]
    own = hashlib.blake2b(orjson.dumps([run, node, digest]), digest_size=16).hexdigest()
    return f"{short[0]}/{short[1]}-{own}.json"


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and its root there. Raises Misconfigured."""
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise Misconfigured(f"NERV_SCHEDULER__RESULTS: results cannot be put under {url}: {error}") from error
    return files, str(root).rstrip("/")
