# SPDX-License-Identifier: Apache-2.0
"""The books of a subscription: its ledger kept up to date from its stream, and decisions added to it."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Protocol, Self

import structlog

from nerv.clock import SystemClock
from nerv.errors import NervError, NotFound, Retry, UnknownOutcome, VersionConflict
from nerv.protocols import AppendRequest, Clock, Expected, History, ReadQuery, Subscribable
from nerv.protocols.history import Appended, Expect
from nerv.subscriptions.facts import Fact, Kind, stream_of
from nerv.subscriptions.ledger import Ledger
from nerv.types import Description, Event, Health

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.1  # s
LONGEST_PAUSE = 5.0
DECIDE_SECONDS = 20.0
POSITIONS = 20  # of which there are many: the last ones are read, each of which tells of all partitions

OTHERS = frozenset(kind.value for kind in Kind if kind is not Kind.MOVED)


class Store(History, Subscribable, Protocol):
    """Where the stream is: the client of *temporal*, or a store in memory or SQLite."""


class Books:
    """Use as `async with`: then `ledger` is what the stream says, a moment ago. `changed` is set with each event."""

    def __init__(self, store: Store, name: str, clock: Clock | None = None) -> None:
        self.name = name
        self.ledger = Ledger()
        self.changed = asyncio.Event()
        self.fault: str | None = None
        self._store = store
        self._stream = stream_of(name)
        self._clock = clock or SystemClock()
        self._task: asyncio.Task[None] | None = None
        self._folded = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self.ledger = await load(self._store, self.name)
        self._task = asyncio.create_task(self._follow(), name=f"books-{self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def record(self, facts: Sequence[Fact]) -> None:
        """Append what has been decided, whatever else was; returns once the ledger has it.

        Tries until there is a verdict: cancel it to give up. Raises Refused.
        """
        for fact in facts:
            await self._record(fact.event(self._clock.now()))

    async def _record(self, event: Event[bytes]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._append([event], Expected())
            except NervError as error:
                if error.retry is Retry.NEVER:
                    raise
                self.fault = f"temporal: {error.detail}"
                log.warning("subscription.record", subscription=self.name, error=str(error))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self.fault = None
                return

    async def decide(self, rule: Callable[[Ledger], Sequence[Fact]], seconds: float = DECIDE_SECONDS) -> Sequence[Fact]:
        """Append what `rule` makes of the ledger, as long as nothing else was decided in between; else it is asked again.

        Raises what the rule raises, Unavailable or UnknownOutcome.
        """
        deadline = time.monotonic() + seconds
        while True:
            version = self.ledger.version
            facts = rule(self.ledger)
            if not facts:
                return facts
            now = self._clock.now()
            try:
                await self._append([fact.event(now) for fact in facts], Expected(Expect.EXACT, version))
            except VersionConflict:
                if time.monotonic() > deadline:
                    raise
                await self._wait_for(version + 1, deadline)
                continue
            return facts

    async def _append(self, events: Sequence[Event[bytes]], expected: Expected) -> None:
        [outcome] = await self._store.append([AppendRequest(self._stream, events, expected)])
        if not isinstance(outcome, Appended):
            raise outcome
        await self._wait_for(outcome.last_version)

    async def _wait_for(self, version: int, deadline: float | None = None) -> None:
        async with self._folded:
            try:
                async with asyncio.timeout(None if deadline is None else max(deadline - time.monotonic(), 0.0)):
                    await self._folded.wait_for(lambda: self.ledger.version >= version or self._task is None)
            except TimeoutError:
                raise UnknownOutcome(f"the books of {self.name} are behind; ask again") from None

    async def _follow(self) -> None:
        pause = FIRST_PAUSE
        while True:
            query = ReadQuery(from_version=self.ledger.version + 1)
            try:
                async with aclosing(self._store.subscribe(self._stream, query=query)) as events:
                    async for one in events:
                        pause = FIRST_PAUSE
                        self.ledger.apply(one.event)
                        self.changed.set()
                        async with self._folded:
                            self._folded.notify_all()
            except NervError as error:
                log.warning("subscription.follow", subscription=self.name, error=str(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(2 * pause, LONGEST_PAUSE)

    def describe(self) -> Description:
        """The books as data."""
        counters = {"version": self.ledger.version, "letters": len(self.ledger.letters), "strange": self.ledger.strange}
        health = Health.OK if self.fault is None else Health.DEGRADED
        return Description("Books", self.name, inputs=(self._stream,), counters=counters, health=health)


async def load(store: History, name: str) -> Ledger:
    """The ledger as its stream has it now; an empty one where there is none. Raises Unavailable."""
    stream, ledger = stream_of(name), Ledger()
    last = 0
    with suppress(NotFound):
        async for event in store.read(stream, ReadQuery(backward=True, limit=1)):
            last = event.sequence or 0
    if not last:
        return ledger
    async for event in store.read(stream, ReadQuery(to_version=last, types=OTHERS)):
        ledger.apply(event)
    moved = ReadQuery(ledger.created + 1, last, POSITIONS, True, frozenset({Kind.MOVED.value}))
    async for event in store.read(stream, moved):
        ledger.apply(event)
    ledger.version = last
    return ledger
