# SPDX-License-Identifier: Apache-2.0
"""Answers that come as they are read: whole, or without an end. No faster than their reader, whatever its pace."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from nerv.errors import NervError, Overloaded
from nerv_temporal.api import formats
from nerv_temporal.api.query import Asked
from nerv_temporal.reads import Reader
from nerv_temporal.settings import ReadSettings
from nerv_temporal.tail import Tail


class Feeds:
    """Streamed answers, bounded in number. Each holds a slice of events at most, and is read from the index again.

    What is appended while the reader is slow waits in the index, not in memory.
    """

    def __init__(self, settings: ReadSettings, tail: Tail, closing: Callable[[], asyncio.Event]) -> None:
        self._settings = settings
        self._tail = tail
        self._closing = closing
        self._open = 0

    def open(self, asked: Asked, reader: Reader, partitions: Sequence[int]) -> AsyncIterator[bytes]:
        """The pieces of an answer. Raises Overloaded at once, not later."""
        if self._open >= self._settings.subscribers:
            raise Overloaded(
                f"{self._open} answers are streamed, the most allowed (NERV_READS__SUBSCRIBERS)", retry_after=5.0
            )
        return self._send(asked, reader, partitions)

    async def _send(self, asked: Asked, reader: Reader, partitions: Sequence[int]) -> AsyncIterator[bytes]:
        self._open += 1
        shape, left = asked.format, asked.limit
        try:
            with self._tail.watched(partitions) as moved:
                yield formats.position(shape, reader.position)
                while True:
                    moved.clear()
                    async for piece, count in self._read(shape, reader, left):
                        left -= count
                        yield piece
                    if self._closing().is_set():
                        return  # without an end: the reader goes on at another replica
                    if left == 0 or not asked.follow:
                        yield formats.end(shape, reader.position)
                        return
                    if not await self._wait(moved):
                        yield formats.position(shape, reader.position)
                    reader.resume()
        except NervError as error:
            yield formats.error(shape, error)
        finally:
            self._open -= 1

    async def _read(self, shape: formats.Format, reader: Reader, left: int) -> AsyncIterator[tuple[bytes, int]]:
        """What there is, in pieces with how many events each has; a heartbeat where a long search finds nothing."""
        said = time.monotonic()
        while left > 0 and not reader.done and not self._closing().is_set():
            found = list(reader.each(left))
            left -= len(found)
            if found:
                yield formats.events(shape, found), len(found)
            elif time.monotonic() - said >= self._settings.heartbeat_seconds:
                yield formats.position(shape, reader.position), 0
            else:
                await asyncio.sleep(0)
                continue
            said = time.monotonic()
            await asyncio.sleep(0)  # an answer that is taken as fast as it comes must not keep others waiting

    async def _wait(self, moved: asyncio.Event) -> bool:
        """Until there may be more, True; False when a heartbeat is due, or the service closes."""
        waiting = {asyncio.ensure_future(event.wait()) for event in (moved, self._closing())}
        try:
            await asyncio.wait(waiting, timeout=self._settings.heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return moved.is_set()
