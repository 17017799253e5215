# SPDX-License-Identifier: Apache-2.0
"""Requests that wait for a tick of their partition, bounded in number and in time."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from nerv.errors import NervError, Overloaded, Unavailable, UnknownOutcome
from nerv.kafka import Outgoing
from nerv.protocols import AppendOutcome, AppendRequest

LATE = 0.25  # s that an answer "time is up" may be late: so often, at most, the queue is looked through for such


@dataclass(frozen=True, slots=True)
class Command:
    """Where a request stands that came over Kafka, and who waits for the reply.

    One that is malformed has a `refusal`; one that does not even say who sent it becomes a dead `letter`.
    """

    offset: int
    id: str = ""
    sender: str = ""
    key: bytes = b""
    refusal: NervError | None = None
    letter: Outgoing | None = None


@dataclass(eq=False, slots=True)
class Waiting:
    """One append, one closing of recorded time (`closing_us`), or, with neither, one barrier.

    With `command` it came over Kafka: it is answered there, in the transaction that also takes it off the topic.
    `tried` once it was part of a transaction whose end is not known: from then on only the log can tell.
    """

    future: "asyncio.Future[AppendOutcome]"
    append: AppendRequest | None = None
    closing_us: int = 0
    size: int = 0
    command: Command | None = None
    tried: bool = False
    abandoned: bool = False
    deadline: float = math.inf  # of the loop's clock; one that came over Kafka has none

    def resolve(self, outcome: AppendOutcome) -> None:
        """Answer, unless the asker has gone."""
        if not self.future.done():
            self.future.set_result(outcome)


class Queue:
    """First in, first out, with a bound; what a failed tick gives back goes to the front.

    Who waits is told the truth when time is up, also of what a tick has in hand: whether it may still happen.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Waiting] = deque()
        self._in_hand: list[Waiting] = []
        # One timer for all that wait: one each costs as much as all else that is done in the loop to let them wait.
        self._timer: asyncio.TimerHandle | None = None
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: Waiting) -> None:
        """Let it wait; one too many is answered Overloaded at once."""
        if len(self._waiting) >= self._limit:
            item.resolve(Overloaded(f"{self._limit} requests wait for this partition", retry_after=1.0))
            return
        item.deadline = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(item.deadline, self._time_is_up)
        self._waiting.append(item)
        self._arrived.set()

    def put_commands(self, items: Sequence[Waiting]) -> None:
        """Let commands wait: without a bound of their own, for no more are read before these are answered."""
        self._waiting.extend(items)
        self._arrived.set()

    def put_back(self, items: Sequence[Waiting]) -> None:
        """Return what a tick could not finish, in order, before all others; commands stay in Kafka, and are read again."""
        self._waiting.extendleft(item for item in reversed(items) if item.command is None)
        self._in_hand = []
        if items:
            self._arrived.set()

    def drop_commands(self) -> None:
        """Forget what came over Kafka: whoever owns the partition next reads it there."""
        self._waiting = deque(item for item in self._waiting if item.command is None)

    def wake(self) -> None:
        """Have `arrived` return, whether or not something waits."""
        self._arrived.set()

    async def arrived(self) -> None:
        """Wait until something waits, or someone wakes."""
        if not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()

    def take(self, events: int, size: int) -> list[Waiting]:
        """The next ones, up to so many events and bytes (at least one); those whose asker gave up are dropped."""
        taken: list[Waiting] = []
        while self._waiting and events > 0 and size > 0:
            item = self._waiting.popleft()
            if item.abandoned:
                continue
            taken.append(item)
            events -= len(item.append.events) if item.append is not None else 0
            size -= item.size
        self._in_hand = taken
        return taken

    def refuse_all(self, why: str) -> None:
        """Answer everybody: this replica does not own the partition any more."""
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


def _not_here(item: Waiting, why: str) -> NervError:
    if item.tried:
        return UnknownOutcome(f"{why} while the write was under way; repeat it with the same ids", retry_after=0.2)
    return Unavailable(f"{why}; nothing was written, send it again", retry_after=0.2)


async def verdicts(items: Sequence[Waiting]) -> list[AppendOutcome]:
    """Wait for the outcomes."""
    try:
        return [await item.future for item in items]
    except asyncio.CancelledError:
        # The asker has gone. What no tick has taken yet must not be written behind its back.
        for item in items:
            item.abandoned = True
        raise


def _too_late(item: Waiting, seconds: float) -> NervError:
    if item.tried:
        return UnknownOutcome(f"no verdict within {seconds:g} s; repeat it with the same ids", retry_after=1.0)
    item.abandoned = True
    return Unavailable(f"no tick within {seconds:g} s; nothing was written, send it again", retry_after=1.0)
