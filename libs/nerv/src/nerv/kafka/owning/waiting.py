# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for a tick of their partition, bounded in number and in time."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nerv.errors import NervError, Overloaded, Unavailable, UnknownOutcome

LATE = 0.25  # s that an answer "time is up" may be late: so often, at most, the queue is looked through for such


@dataclass(eq=False, slots=True)
class Waiting:
    """A request that waits, for a tick or for the end of the one it is part of.

    `count` and `size` are the records and bytes that it asks for, by which ticks are bounded. `kept` is False for what came
    over Kafka: whoever owns the partition next reads it there again. `tried` once it was part of a transaction whose end is
    not known: from then on only the log can tell.
    """

    future: "asyncio.Future[Any]"
    count: int = 0
    size: int = 0
    kept: bool = True
    tried: bool = False
    abandoned: bool = False
    deadline: float = math.inf  # of the loop's clock; one that came over Kafka has none

    def resolve(self, outcome: Any) -> None:
        """Answer, unless the asker has gone."""
        if not self.future.done():
            self.future.set_result(outcome)


W = TypeVar("W", bound=Waiting)


class Queue(Generic[W]):
    """First in, first out, with a bound; what a failed tick gives back goes to the front.

    Who waits is told the truth when time is up, also of what a tick has in hand: whether it may still happen.
    """

    def __init__(self, limit: int, most_bytes: int, seconds: float) -> None:
        self._limit, self._most_bytes = limit, most_bytes
        self._bytes = 0  # of what waits; what a tick has in hand is bounded by itself
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[W] = deque()
        self._in_hand: list[W] = []
        # One timer for all that wait: one each costs as much as all else that is done in the loop to let them wait.
        self._timer: asyncio.TimerHandle | None = None
        self._wanted = 1  # so many have to wait, for `arrived` to return
        self._arrived = asyncio.Event()
        self._woken = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: W) -> None:
        """Let it wait; one too many is answered Overloaded at once."""
        if len(self._waiting) >= self._limit or self._bytes > self._most_bytes:
            waits = f"{len(self._waiting)} requests of {self._bytes} bytes wait for this partition"
            item.resolve(Overloaded(f"{waits}, as many as may", retry_after=1.0))
            return
        self._bytes += item.size
        item.deadline = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(item.deadline, self._time_is_up)
        self._waiting.append(item)
        if len(self._waiting) >= self._wanted:
            self._arrived.set()

    def put_read(self, items: Sequence[W]) -> None:
        """Let wait what came over Kafka: without a bound, for no more is read before these are answered."""
        self._waiting.extend(items)
        self._bytes += sum(item.size for item in items)
        self._arrived.set()

    def put_back(self, items: Sequence[W]) -> None:
        """Return what a tick could not finish, in order, before all others; what came over Kafka is read there again."""
        again = [item for item in reversed(items) if item.kept]
        self._waiting.extendleft(again)
        self._bytes += sum(item.size for item in again)
        self._in_hand = []
        if items:
            self._arrived.set()

    def drop_read(self) -> None:
        """Forget what came over Kafka: whoever owns the partition next reads it there."""
        self._waiting = deque(item for item in self._waiting if item.kept)
        self._bytes = sum(item.size for item in self._waiting)

    def wake(self) -> None:
        """Have `arrived` return, whether or not something waits: this call of it, or the next one."""
        self._woken = True
        self._arrived.set()

    async def arrived(self, count: int = 1, until: float = 0.0) -> None:
        """Wait until `count` wait, or, from `until` on (of the loop's clock), until any does; or someone wakes."""
        if len(self._waiting) < count and self._loop.time() < until:
            timer = self._loop.call_at(until, self._arrived.set)
            await self._wait_for(count)
            timer.cancel()
        if not self._waiting:
            await self._wait_for(1)
        self._woken = False

    async def _wait_for(self, count: int) -> None:
        if self._woken:
            return
        self._wanted = count
        self._arrived.clear()
        await self._arrived.wait()
        self._wanted = 1

    def take(self, count: int, size: int) -> list[W]:
        """The next ones, up to so many records and bytes (at least one); those whose asker gave up are dropped."""
        taken: list[W] = []
        while self._waiting and count > 0 and size > 0:
            item = self._waiting.popleft()
            self._bytes -= item.size
            if item.abandoned:
                continue
            taken.append(item)
            count -= item.count
            size -= item.size
        self._in_hand = taken
        return taken

    def refuse_all(self, why: str) -> None:
        """Answer everybody: this replica does not own the partition any more."""
        self._bytes = 0
        while self._waiting:
            item = self._waiting.popleft()
            item.resolve(_not_here(item, why))

    def _time_is_up(self) -> None:
        now, self._timer = self._loop.time(), None
        left = [item for item in (*self._in_hand, *self._waiting) if not item.future.done()]
        for item in left:
            if item.deadline <= now:
                item.resolve(_too_late(item, self._seconds))
        later = min((item.deadline for item in left if now < item.deadline), default=math.inf)
        if later < math.inf:
            self._timer = self._loop.call_at(max(later, now + LATE), self._time_is_up)


async def verdicts(items: Sequence[Waiting]) -> list[Any]:
    """Wait for the outcomes."""
    try:
        if len(items) == 1:  # most often; a comprehension would be a coroutine of its own
            return [await items[0].future]
        return [await item.future for item in items]
    except asyncio.CancelledError:
        # The asker has gone. What no tick has taken yet must not be written behind its back.
        for item in items:
            item.abandoned = True
        raise


def _not_here(item: Waiting, why: str) -> NervError:
    if item.tried:
        return UnknownOutcome(f"{why} while the write was under way; repeat it with the same ids", retry_after=0.2)
    return Unavailable(f"{why}; nothing was written, send it again", retry_after=0.2)


def _too_late(item: Waiting, seconds: float) -> NervError:
    if item.tried:
        return UnknownOutcome(f"no verdict within {seconds:g} s; repeat it with the same ids", retry_after=1.0)
    item.abandoned = True
    return Unavailable(f"no tick within {seconds:g} s; nothing was written, send it again", retry_after=1.0)
