# SPDX-License-Identifier: Apache-2.0
"""Partitioned delivery: bounded queues with a worker each, so that one key keeps its order and keys do not wait for others."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from nerv.bus.model import Lanes, Overflow
from nerv.types import Event

Deliver = Callable[[list[Event[Any]]], Awaitable[None]]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a worker, and keeps hold of it until it has ended."""


def routing_key(event: Event[Any]) -> str:
    """What keeps its order by default: the partition key, else the subject, else the event alone."""
    return event.partition_key or event.subject or event.id


class Lane:
    """One bounded queue and the task that empties it."""

    __slots__ = (
        "_deliver",
        "_done",
        "_spawn",
        "_stopped",
        "_taken",
        "_task",
        "_waiting",
        "_wake",
        "dropped",
        "options",
        "queue",
        "room",
    )

    def __init__(self, options: Lanes, deliver: Deliver, spawn: Spawn) -> None:
        self.options = options
        self._deliver = deliver
        self._spawn = spawn
        self._wake = asyncio.Event()
        self._stopped = False
        self._task: asyncio.Task[None] | None = None
        self.queue: deque[Event[Any]] = deque()
        self.room = asyncio.Event()
        self.room.set()
        self._taken = 0  # events that came, and how many of them are handled or dropped
        self._done = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.dropped = 0

    @property
    def full(self) -> bool:
        """Whether it holds as many events as it may."""
        return len(self.queue) >= self.options.capacity

    def put(self, event: Event[Any]) -> None:
        """Take an event, or drop one as the policy says. Whether it may be refused was asked before."""
        if self.full and self.options.overflow is Overflow.DROP_NEWEST:
            self.dropped += 1
            return
        if self.full and self.options.overflow is Overflow.DROP_OLDEST:
            self.queue.popleft()
            self.dropped += 1
            self._settle(1)
        self.append(event)

    def append(self, event: Event[Any]) -> None:
        """Take an event whatever the bound says: for a replay, which is bounded by the history."""
        self.queue.append(event)
        self._taken += 1
        if self.full:
            self.room.clear()
        if self._task is None:
            self._task = self._spawn(self._work())
        self._wake.set()

    async def _work(self) -> None:
        size = self.options.batch or 1
        while not self._stopped:
            while self.queue:
                taken = [self.queue.popleft() for _ in range(min(size, len(self.queue)))]
                if not self.full:
                    self.room.set()
                await self._deliver(taken)
                self._settle(len(taken))
            self._wake.clear()
            if not self._stopped:
                await self._wake.wait()

    async def drain(self) -> None:
        """Until every event that it has now is handled or dropped."""
        if self._done < self._taken:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append((self._taken, waiting))
            await waiting

    def _settle(self, count: int) -> None:
        self._done += count
        while self._waiting and self._waiting[0][0] <= self._done:
            _, waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)

    def stop(self) -> None:
        """End the worker; what is queued is dropped."""
        self._stopped = True
        if self._task is None or self._task.get_loop().is_closed():
            return
        loop = self._task.get_loop()
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is loop:
            self._end()
        else:  # the garbage collector runs in whatever thread it likes
            loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self.dropped += len(self.queue)
        self.queue.clear()
        self.room.set()
        self._settle(self._taken - self._done)
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():  # one that cancels itself may finish what it does
            task.cancel()


class LaneSet:
    """The lanes of one subscriber."""

    __slots__ = ("_key", "lanes", "options")

    def __init__(self, options: Lanes, deliver: Deliver, spawn: Spawn) -> None:
        self.options = options
        self._key = options.key or routing_key
        self.lanes = tuple(Lane(options, deliver, spawn) for _ in range(options.count))

    def lane(self, event: Event[Any]) -> Lane:
        """The lane of an event's key."""
        if len(self.lanes) == 1:
            return self.lanes[0]
        return self.lanes[hash(self._key(event)) % len(self.lanes)]

    @property
    def lossless(self) -> bool:
        """Whether its policy drops nothing, so that it may refuse."""
        return self.options.overflow in (Overflow.WAIT, Overflow.REFUSE)

    @property
    def queued(self) -> int:
        """Events that wait."""
        return sum(len(lane.queue) for lane in self.lanes)

    @property
    def dropped(self) -> int:
        """Events that were dropped."""
        return sum(lane.dropped for lane in self.lanes)

    async def drain(self) -> None:
        """Until every event taken so far has been handled."""
        for lane in self.lanes:
            await lane.drain()

    def stop(self) -> None:
        """End the workers."""
        for lane in self.lanes:
            lane.stop()
