# SPDX-License-Identifier: Apache-2.0
"""The owner of one partition: take over, then one transaction a tick, until it is told to let go."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from nerv.app import App
from nerv.cloudevents.proto_format import to_us
from nerv.errors import NervError, Unavailable
from nerv.kafka import CommitFailed, FencedWriter, Outgoing
from nerv.protocols import AppendOutcome, AppendRequest, Clock
from nerv.telemetry import Carrier, contexts_of, span
from nerv.telemetry import names as n
from nerv_temporal.model import recorded_instant
from nerv_temporal.owner.commands import Commands
from nerv_temporal.owner.tick import Tick
from nerv_temporal.owner.waiting import Queue, Waiting, verdicts
from nerv_temporal.records import Fence, fence_record
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.tail import Tail

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.1  # s, doubled with each failed take-over
LONGEST_PAUSE = 5.0
CATCH_UP_SECONDS = 60.0  # for the tail to reach our own fence


@dataclass(frozen=True, slots=True)
class Me:
    """Who owns."""

    name: str
    address: str


class PartitionOwner:
    """Serves one partition while the group's assignment says so, and Kafka's fences prove it."""

    def __init__(self, settings: TemporalSettings, app: App, partition: int, tail: Tail, clock: Clock) -> None:
        self.partition = partition
        self.serving = False
        self.take_overs = 0
        self.since = time.monotonic()  # when it began to serve, or to try to
        self._settings = settings
        self._app = app
        self._me = Me(settings.instance, settings.http.url)
        self._tail = tail
        self._clock = clock
        self._queue = Queue(settings.temporal.waiting, settings.temporal.answer_seconds)
        self._future = asyncio.get_running_loop().create_future
        self._leaving = asyncio.Event()
        self._task = asyncio.create_task(self._own(), name=f"owner-{partition}")

    async def leave(self) -> None:
        """Finish what is waiting, answer the rest that the partition is not here, and let go."""
        self._leaving.set()
        self._queue.wake()
        await asyncio.wait({self._task})

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """Append in the next tick. Answers in order, once each is committed, refused, or unknown."""
        return await self._ask(
            [Waiting(self._future(), request, 0, sum([len(e.data) for e in request.events])) for request in requests]
        )

    async def barrier(self) -> None:
        """Return once this replica has proven that it owned the partition after the call. Raises a NervError."""
        await self._prove(Waiting(self._future()))

    async def close_at(self, instant_us: int) -> int:
        """Close recorded time at an instant (microseconds), durably: no later event is recorded at or before it.

        Answers the offset up to which the partition is then read. Raises a NervError.
        """
        closed = self._tail.index.partition(self.partition).recorded_us >= instant_us
        return await self._prove(Waiting(self._future(), closing_us=0 if closed else instant_us))

    async def _prove(self, item: Waiting) -> int:
        [outcome] = await self._ask([item])
        if isinstance(outcome, NervError):
            raise outcome
        return outcome.offset

    async def _ask(self, items: list[Waiting]) -> list[AppendOutcome]:
        if self._leaving.is_set():
            raise Unavailable("this replica lets the partition go; nothing was written", retry_after=0.2)
        for item in items:
            self._queue.put(item)
        return await verdicts(items)

    async def _own(self) -> None:
        pause = FIRST_PAUSE
        while not self._leaving.is_set():
            writer = self._writer()
            try:
                await self._take_over(writer)
                pause = FIRST_PAUSE
                await self._serve(writer)
            except NervError as error:
                log.warning("owner.failed", partition=self.partition, error=str(error))
                if not self._leaving.is_set():
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception as error:
                log.exception("owner.crashed", partition=self.partition)
                self._tail.crash(error)
                return
            finally:
                if self.serving:
                    self.serving = False
                    self.since = time.monotonic()
                await writer.close()
                if self._leaving.is_set():
                    self._queue.refuse_all("this replica lets the partition go")

    def _writer(self) -> FencedWriter:
        name = f"temporal-{self._settings.instance}-{self.partition}"
        return FencedWriter(self._settings.kafka, self._settings.history, self.partition, name)

    async def _take_over(self, writer: FencedWriter) -> None:
        def fence(token: str, producer: str) -> Outgoing:
            record = Fence(self._me.name, self._me.address, token, producer)
            return fence_record(self._settings.history, self.partition, record, self._clock.now())

        taken = await writer.take_over(fence)
        # Whoever wrote before is shut out now; what they committed stands before our second fence.
        await self._tail.reached(self.partition, taken.offset, CATCH_UP_SECONDS)
        self.serving = True
        self.since = time.monotonic()
        self.take_overs += 1
        log.info("owner.serving", partition=self.partition, fence_offset=taken.offset, take_overs=self.take_overs)

    async def _serve(self, writer: FencedWriter) -> None:
        # Commands are read as long as this take-over holds, no longer.
        commands = Commands(self._settings, self._app, self.partition, self._queue)
        reading = asyncio.create_task(commands.run(self._tail.index), name=f"commands-{self.partition}")
        try:
            while not self._leaving.is_set():
                await self._queue.arrived()
                await self._next_tick(writer)
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            self._queue.drop_commands()
        while len(self._queue) > 0:  # nothing more comes in, and who waits need not ask again elsewhere
            await self._next_tick(writer)

    async def _next_tick(self, writer: FencedWriter) -> None:
        bounds = self._settings.temporal
        if taken := self._queue.take(bounds.tick_events, bounds.tick_bytes):
            await self._tick(writer, taken)

    async def _tick(self, writer: FencedWriter, taken: list[Waiting]) -> None:
        covered = self._tail.index.partition(self.partition)
        closing_us = max([item.closing_us for item in taken])
        recorded = recorded_instant(to_us(self._clock.now()), covered.recorded_us, closing_us)
        tick = Tick(self.partition, taken, self._tail.index, recorded)
        for item in taken:
            item.tried = True
        try:
            last = await self._commit(writer, tick)
        except CommitFailed:
            self._queue.put_back(taken)  # the log will tell, after the take-over; the ids make a second try harmless
            raise
        if written := tick.written():
            self._tail.advance(self.partition, last - len(written) + 1, written, last + 1)
        for item, outcome in zip(taken, tick.outcomes(last), strict=True):
            item.resolve(outcome)

    async def _commit(self, writer: FencedWriter, tick: Tick) -> int:
        records = self._outgoing(tick)
        contexts = contexts_of(Carrier(event.traceparent, event.tracestate) for event in tick.events)
        replies = (lambda last: list(tick.replies(self._settings, last))) if tick.has_commands else None
        with span(
            f"commit {self._settings.history}",
            links=[context for context, _ in contexts],
            parent=contexts[0][0] if contexts else Carrier(),
            attributes={n.SYSTEM: n.KAFKA, n.PARTITION: str(self.partition), n.BATCH_COUNT: len(records)},
        ):
            return await writer.commit(records, reply=replies)

    def _outgoing(self, tick: Tick) -> list[Outgoing]:
        return tick.outgoing(self._settings, self._clock.now())
