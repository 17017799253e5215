# SPDX-License-Identifier: Apache-2.0
"""Publish in time order with several batches in flight, and yet each aircraft's events in their order.

The events are dealt to lanes by a hash of their key. A lane sends one batch after the other; the lanes run side by side.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice

from flights.demo.together import together
from nerv.limits import Limits
from nerv.types import Event

Send = Callable[[Sequence[Event[bytes]]], Awaitable[object]]

LANES = 4
BATCH = Limits().batch  # events a request: what the broker takes at most
READ_AHEAD = 4 * BATCH  # events prepared at a time, in a thread
QUEUED = 2  # batches that wait in a lane: enough that it never runs dry


async def publish_all(send: Send, events: Iterator[Event[bytes]], report: Callable[[int], None]) -> int:
    """Publish everything by `send`, a batch a call; `report` hears the size of each that is done. Returns how many.

    Raises what the first batch raises that is refused, or whose outcome stays unknown.
    """
    lanes = [_Lane(send, report) for _ in range(LANES)]
    async with together() as group:
        for lane in lanes:
            group.create_task(lane.run())
        await _deal(events, lanes)
    return sum(lane.sent for lane in lanes)


async def _deal(events: Iterator[Event[bytes]], lanes: list["_Lane"]) -> None:
    while chunk := await asyncio.to_thread(_take, events):
        for number, event in chunk:
            await lanes[number].add(event)
    for lane in lanes:
        await lane.close()


def _take(events: Iterator[Event[bytes]]) -> list[tuple[int, Event[bytes]]]:
    return [(zlib.crc32(key_of(event).encode()) % LANES, event) for event in islice(events, READ_AHEAD)]


def key_of(event: Event[bytes]) -> str:
    """What an event is ordered by: its partition key, which is the tail number, or else its flight."""
    return event.partition_key or event.subject or event.id


class _Lane:
    """Collects batches and sends them one after the other."""

    def __init__(self, send: Send, report: Callable[[int], None]) -> None:
        self.sent = 0
        self._send, self._report = send, report
        self._batch: list[Event[bytes]] = []
        self._queue: asyncio.Queue[list[Event[bytes]] | None] = asyncio.Queue(QUEUED)

    async def add(self, event: Event[bytes]) -> None:
        """Take one event, waiting while the lane is full."""
        self._batch.append(event)
        if len(self._batch) == BATCH:
            await self._queue.put(self._batch)
            self._batch = []

    async def close(self) -> None:
        """No more events come."""
        if self._batch:
            await self._queue.put(self._batch)
        await self._queue.put(None)

    async def run(self) -> None:
        """Send until closed."""
        while (batch := await self._queue.get()) is not None:
            await self._send(batch)
            self.sent += len(batch)
            self._report(len(batch))
