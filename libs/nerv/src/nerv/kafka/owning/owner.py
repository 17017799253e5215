# SPDX-License-Identifier: Apache-2.0
"""The owner of one partition: take over, then one transaction a tick, until it is told to let go."""

import asyncio
import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic

import structlog

from nerv.errors import NervError, Unavailable
from nerv.kafka.fenced import CommitFailed, FencedWriter
from nerv.kafka.membership import changes
from nerv.kafka.owning.fences import Fence, fence_record
from nerv.kafka.owning.waiting import Queue, W, verdicts
from nerv.kafka.records import Outgoing
from nerv.kafka.settings import KafkaSettings
from nerv.protocols import Clock
from nerv.telemetry import histogram
from nerv.telemetry import names as n
from nerv.types import Description, Health

log = structlog.get_logger(__name__)

_waits = histogram(n.APPEND_DURATION)

FIRST_PAUSE = 0.1  # s, doubled with each failed take-over
LONGEST_PAUSE = 5.0
PACE = 0.5  # of a tick's time its writers have to come again: what PostgreSQL advises for its `commit_delay`
LONGEST_PACE = 0.005  # s
CATCH_UP_SECONDS = 60.0  # to read up to our own fence


@dataclass(frozen=True, slots=True)
class Ownership:
    """Of what the owners of a service are owners, who they are, and the bounds of their ticks."""

    kafka: KafkaSettings
    topic: str
    partitions: int
    service: str
    instance: str
    address: str  # where this replica takes what others forward
    tick_records: int  # in one transaction
    tick_bytes: int
    waiting: int  # requests that may wait for a tick of one partition; beyond: Overloaded
    waiting_bytes: int  # of their data
    answer_seconds: float  # a request without a verdict by then is unknown, or was never tried

    def client_id(self, *parts: object) -> str:
        """`temporal-<instance>-...`."""
        return "-".join((self.service, self.instance, *map(str, parts)))


class Owner(ABC, Generic[W]):
    """Serves one partition while the group's assignment says so, and Kafka's fences prove it.

    A subclass says how far it has read, what one tick writes, and what runs only while the partition is served.
    """

    def __init__(self, ownership: Ownership, partition: int, clock: Clock, crash: Callable[[Exception], None]) -> None:
        """`crash` is told what nobody foresaw: the service must end then, for nothing is sure any more."""
        self.partition = partition
        self.serving = False
        self.take_overs = 0
        self.since = time.monotonic()  # when it began to serve, or to try to
        self._ownership = ownership
        self._clock = clock
        self._crash = crash
        self._waits = _waits.of({n.DESTINATION: ownership.topic})
        self._queue: Queue[W] = Queue(ownership.waiting, ownership.waiting_bytes, ownership.answer_seconds)
        loop = asyncio.get_running_loop()
        self._future, self._time = loop.create_future, loop.time
        self._pace = (1, 0.0)  # so many requests make a tick, until this instant of the loop's clock; then one does
        self._leaving = asyncio.Event()
        self._task = asyncio.create_task(self._own(), name=f"owner-{partition}")

    @abstractmethod
    async def _read_up_to(self, offset: int, seconds: float) -> None:
        """Return once all that was committed up to `offset` is known here. Raises Unavailable when time is up."""

    @abstractmethod
    async def _write(self, writer: FencedWriter, taken: list[W]) -> list[Any]:
        """Commit one transaction for what was taken, and answer with the outcome of each. Raises CommitFailed.

        Then all come again after a new take-over, and what the transaction may have written is known by then.
        """

    @asynccontextmanager
    async def _while_serving(self) -> AsyncIterator[None]:
        """What goes on while the partition is served, and ends before what still waits is finished."""
        yield

    async def leave(self) -> None:
        """Finish what is waiting, answer the rest that the partition is not here, and let go."""
        self._leaving.set()
        self._queue.wake()
        await asyncio.wait({self._task})

    def describe(self) -> Description:
        """The owner as data: how often it has taken over, and how many requests wait for it."""
        return Description(
            type(self).__name__,
            f"{self._ownership.topic}/{self.partition}",
            outputs=(self._ownership.topic,),
            counters={"take_overs": self.take_overs, "waiting": len(self._queue)},
            health=Health.OK if self.serving else Health.DEGRADED,
        )

    def _ask(self, items: list[W]) -> Awaitable[list[Any]]:
        """Let them wait for the next tick; their outcomes in order. Raises Unavailable when the partition is let go."""
        if self._leaving.is_set():
            raise Unavailable("this replica lets the partition go; nothing was written", retry_after=0.2)
        for item in items:
            self._queue.put(item)
        return verdicts(items)

    async def _own(self) -> None:
        pause = FIRST_PAUSE
        while not self._leaving.is_set():
            writer = self._writer()
            try:
                await self._take_over(writer)
                pause = FIRST_PAUSE
                await self._serve(writer)
            except NervError as error:
                changes.add(1, {n.DESTINATION: self._ownership.topic, n.CHANGE: "failed"})
                log.warning("owner.failed", topic=self._ownership.topic, partition=self.partition, error=str(error))
                if not self._leaving.is_set():
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception as error:
                log.exception("owner.crashed", topic=self._ownership.topic, partition=self.partition)
                self._crash(error)
                return
            finally:
                if self.serving:
                    self.serving = False
                    self.since = time.monotonic()
                await writer.close()
                if self._leaving.is_set():
                    self._queue.refuse_all("this replica lets the partition go")

    def _writer(self) -> FencedWriter:
        who = self._ownership
        return FencedWriter(who.kafka, who.topic, self.partition, who.client_id(self.partition))

    async def _take_over(self, writer: FencedWriter) -> None:
        who = self._ownership

        def fence(token: str, producer: str) -> Outgoing:
            record = Fence(who.instance, who.address, token, producer)
            return fence_record(who.topic, self.partition, record, self._clock.now(), f"nerv:{who.service}")

        taken = await writer.take_over(fence)
        # Whoever wrote before is shut out now; what they committed stands before our second fence.
        await self._read_up_to(taken.offset, CATCH_UP_SECONDS)
        self.serving = True
        self.since = time.monotonic()
        self.take_overs += 1
        log.info(
            "owner.serving",
            topic=who.topic,
            partition=self.partition,
            fence_offset=taken.offset,
            take_overs=self.take_overs,
        )

    async def _serve(self, writer: FencedWriter) -> None:
        async with self._while_serving():
            while not self._leaving.is_set():
                await self._queue.arrived(*self._pace)
                await self._next_tick(writer)
        while len(self._queue) > 0:  # nothing more comes in, and who waits need not ask again elsewhere
            await self._next_tick(writer)

    async def _next_tick(self, writer: FencedWriter) -> None:
        if taken := self._queue.take(self._ownership.tick_records, self._ownership.tick_bytes):
            began = self._time()
            await self._tick(writer, taken)
            # Those who are answered now as a rule come again. A tick that waits a moment for them saves the next one, where
            # else two halves of the writers would wait for each other's transactions for ever.
            ended = self._time()
            self._pace = len(taken) + len(self._queue), ended + min(PACE * (ended - began), LONGEST_PACE)

    async def _tick(self, writer: FencedWriter, taken: list[W]) -> None:
        for item in taken:
            item.tried = True
        try:
            outcomes = await self._write(writer, taken)
        except CommitFailed:
            self._queue.put_back(taken)  # the log will tell, after the take-over; the ids make a second try harmless
            raise
        for item, outcome in zip(taken, outcomes, strict=True):
            item.resolve(outcome)
        self._measure(taken)

    def _measure(self, taken: list[W]) -> None:
        """Once a tick: what came over Kafka has no deadline, and counts there."""
        longest = min([item.deadline for item in taken]) - self._ownership.answer_seconds
        if longest < math.inf:
            self._waits.record(max(0.0, self._time() - longest))
