# SPDX-License-Identifier: Apache-2.0
"""A client of each service, at a modest pace, that asks until it has a verdict: what is unknown it repeats under the same ids.

Each notes what was acknowledged; what the mesh says in the end is held against that.
"""

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from flights.events import FLIGHT_TOPIC
from flights.reference import COUNTED
from nerv.cancelling import end
from nerv.client.streams import Streams
from nerv.client.syncs import Syncs
from nerv.client.topics import Topics
from nerv.client.transport import Answer, Query, Transport
from nerv.client.views import Views
from nerv.client.workflows import Workflows
from nerv.errors import NervError, Retry
from nerv.protocols.history import Appended, AppendRequest, Expect, Expected
from nerv.types import Event, new_event_id, utc_now
from tests.cluster.phases import Book

TRIES_SECONDS = 20.0  # one call with its repeats, before it is begun anew under the same ids
REFUSED = "refused"


class Watched(Transport):
    """The client's transport, which also tells the book of each single attempt."""

    def __init__(self, urls: Mapping[str, str], token: str, book: Book) -> None:
        super().__init__(urls, token)
        self._book = book

    async def attempt(
        self,
        service: str,
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        seconds: float,
    ) -> Answer:
        """Once, as the transport does."""
        self._book.asks(service)
        try:
            answer = await super().attempt(service, method, path, query, body, headers, seconds)
        except NervError as error:
            self._book.failed(service, _named(error))
            raise
        self._book.answered(service)
        return answer


def _named(error: NervError) -> str:
    """What kind of failure it was, in few words."""
    said = error.detail
    if "cannot be reached" in said:
        return "connection refused"
    if "did not answer" in said or "broke off" in said:
        return "connection broken"
    return f"{error.status} {type(error).__name__}"


class Visitor(ABC):
    """Does the same again and again. `violations` is what must not be; `done` how often it came to an end."""

    name: ClassVar[str]
    pause: ClassVar[float]

    def __init__(self) -> None:
        self.done = 0
        self.repeats = 0
        self.violations: list[str] = []
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    async def visit(self) -> None:
        """Until it is told to stop."""
        while not self._stopping.is_set():
            await self._certainly()
            self.done += 1
            await asyncio.sleep(self.pause)

    async def _certainly(self) -> None:
        """One step, as often as it takes. A refusal is a violation: nothing that is asked here may be refused."""
        while True:
            try:
                await self.step()
            except NervError as error:
                if error.retry is Retry.NEVER:
                    self.violations.append(f"{self.name}: {type(error).__name__}: {error.detail[:200]}")
                    self.skip()
                    return
                self.repeats += 1
                await asyncio.sleep(self.pause)
            else:
                return

    @abstractmethod
    async def step(self) -> None:
        """The same ids every time, until it returns. Raises NervError."""

    @abstractmethod
    def skip(self) -> None:
        """On to the next step."""


class Publisher(Visitor):
    """*broker*: flights in order of time, twenty a request; when all are published, the same again, which changes nothing."""

    name, pause = "broker", 0.2
    BATCH = 20

    def __init__(self, transport: Transport, events: Sequence[Event[bytes]]) -> None:
        super().__init__()
        self._topics, self._events, self.published = Topics(transport), events, 0

    async def step(self) -> None:
        """One batch."""
        start = self.published % len(self._events)
        batch = self._events[start : start + self.BATCH]
        await self._topics.publish(FLIGHT_TOPIC, batch, seconds=TRIES_SECONDS)
        self.published += len(batch)

    def skip(self) -> None:
        """To the next batch."""
        self.published += self.BATCH

    @property
    def rest(self) -> Sequence[Event[bytes]]:
        """Those that have not been published."""
        return self._events[self.published :]


class Appender(Visitor):
    """*temporal*: events to a few streams, each at the exact version that the last was acknowledged with."""

    name, pause = "temporal", 0.1
    STREAMS = 8
    TYPE = "counted.v1"

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._streams = Streams(transport)
        mark = new_event_id()[-8:]
        self.acknowledged: dict[str, list[str]] = {f"counter-{mark}-{number}": [] for number in range(self.STREAMS)}
        self._turns = itertools.cycle(self.acknowledged)
        self._next = self._made(next(self._turns))

    async def step(self) -> None:
        """One event."""
        (outcome,) = await self._streams.append([self._next], seconds=TRIES_SECONDS)
        if not isinstance(outcome, Appended):
            raise outcome
        ids = self.acknowledged[self._next.stream]
        ids.append(self._next.events[0].id)
        if outcome.last_version != len(ids):
            self.violations.append(f"{self._next.stream}: version {outcome.last_version} instead of {len(ids)}")
        self.skip()

    def skip(self) -> None:
        """To the next stream."""
        self._next = self._made(next(self._turns))

    async def check(self) -> int:
        """Every acknowledged event is in its stream, once, in order, and nothing else is. Answers how many events there are."""
        for stream, ids in self.acknowledged.items():
            found = [event.id async for event in self._streams.read(stream)] if ids else []
            if found != ids:
                lost, more = set(ids) - set(found), set(found) - set(ids)
                self.violations.append(f"{stream}: {len(lost)} lost, {len(more)} that nobody appended, order differs")
        return sum(map(len, self.acknowledged.values()))

    def _made(self, stream: str) -> AppendRequest:
        version = len(self.acknowledged[stream])
        event = Event(new_event_id(), "urn:cluster-test", self.TYPE, utc_now(), b"{}", subject=stream)
        return AppendRequest(stream, [event], Expected(Expect.EXACT, version))


class Reader(Visitor):
    """*projector*: the totals of a carrier, which never go down."""

    name, pause = "projector", 0.1
    KEY = "UA"

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._views = Views(transport)
        self._last = dict.fromkeys(("departures", "arrivals", "cancelled"), 0)

    async def step(self) -> None:
        """One read."""
        state: Mapping[str, Any] = (await self._views.get("carriers", self.KEY))["state"]
        now = {name: int(state[name]) for name in self._last if name in COUNTED}
        if any(now[name] < self._last[name] for name in now):
            self.violations.append(f"carrier {self.KEY} went back from {self._last} to {now}")
        self._last = now

    def skip(self) -> None:
        """The next step is the same."""


class Syncer(Visitor):
    """*sync*: the register of airlines into its streams, one run after the other; each says that it is done."""

    name, pause = "sync", 1.0

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._syncs, self._run = Syncs(transport), new_event_id()

    async def step(self) -> None:
        """One run."""
        run = await self._syncs.run("airlines", run=self._run, seconds=TRIES_SECONDS)
        if run["status"] != "done":
            self.violations.append(f"sync run {self._run} is {run['status']}")
        self.skip()

    def skip(self) -> None:
        """To the next run."""
        self._run = new_event_id()


class Starter(Visitor):
    """*scheduler*: the monthly report, one run after the other; each completes."""

    name, pause = "scheduler", 1.0

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._workflows, self._run = Workflows(transport), new_event_id()

    async def step(self) -> None:
        """One run, to its end."""
        await self._workflows.start("monthly-report", {"year": "2013"}, run=self._run)
        run = await self._workflows.wait(self._run, TRIES_SECONDS, nodes=False)
        if run["status"] != "completed":
            self.violations.append(f"workflow run {self._run} is {run['status']}: {run.get('error')}")
        self.skip()

    def skip(self) -> None:
        """To the next run."""
        self._run = new_event_id()


class Traffic:
    """One visitor of each service."""

    def __init__(self, transport: Transport, events: Sequence[Event[bytes]]) -> None:
        self.publisher, self.appender = Publisher(transport, events), Appender(transport)
        others = (Reader(transport), Syncer(transport), Starter(transport))
        self.visitors: tuple[Visitor, ...] = (self.publisher, self.appender, *others)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """While the block runs; at its end each visitor ends its step."""
        tasks = [asyncio.create_task(visitor.visit()) for visitor in self.visitors]
        try:
            yield
            for visitor in self.visitors:
                visitor.stop()
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                await end(task)
