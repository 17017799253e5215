# SPDX-License-Identifier: Apache-2.0
"""The owner of one partition of history: one tick, one transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from nerv.app import App
from nerv.cloudevents.proto_format import to_us
from nerv.errors import NervError
from nerv.kafka import FencedWriter, Outgoing
from nerv.kafka.owning import Owner
from nerv.protocols import AppendOutcome, AppendRequest, Clock
from nerv.telemetry import counter, span_of_all, traced
from nerv.telemetry import names as n
from nerv.telemetry.touched import places, streams
from nerv.telemetry.traffic import saw
from nerv_temporal.model import recorded_instant
from nerv_temporal.owner.commands import Commands
from nerv_temporal.owner.tick import Tick
from nerv_temporal.owner.waiting import Waiting
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.tail import Tail

_sent = counter(n.SENT_MESSAGES)


class PartitionOwner(Owner[Waiting]):
    """Serves one partition of history."""

    def __init__(self, settings: TemporalSettings, app: App, partition: int, tail: Tail, clock: Clock) -> None:
        self._settings = settings
        self._app = app
        self._tail = tail
        super().__init__(settings.ownership, partition, clock, tail.crash)

    def append(self, requests: Sequence[AppendRequest]) -> Awaitable[list[AppendOutcome]]:
        """Append in the next tick. Answers in order, once each is committed, refused, or unknown."""
        return self._ask(
            [
                Waiting(self._future(), len(one.events), sum([len(e.data) for e in one.events]), append=one)
                for one in requests
            ]
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
        offset: int = outcome.offset
        return offset

    async def _read_up_to(self, offset: int, seconds: float) -> None:
        await self._tail.reached(self.partition, offset, seconds)

    @asynccontextmanager
    async def _while_serving(self) -> AsyncIterator[None]:
        # Commands are read as long as this take-over holds, no longer.
        commands = Commands(self._settings, self._app, self.partition, self._queue)
        reading = asyncio.create_task(commands.run(self._tail.index), name=f"commands-{self.partition}")
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            self._queue.drop_read()

    async def _write(self, writer: FencedWriter, taken: list[Waiting]) -> list[AppendOutcome]:
        covered = self._tail.index.partition(self.partition)
        closing_us = max([item.closing_us for item in taken])
        recorded = recorded_instant(to_us(self._clock.now()), covered.recorded_us, closing_us)
        tick = Tick(self.partition, taken, self._tail.index, recorded)
        last = await self._commit(writer, tick)
        saw("service:temporal", f"topic:{self._settings.history}", len(tick.events))
        if written := tick.written():
            _sent.add(len(tick.events), {n.SYSTEM: n.KAFKA, n.DESTINATION: self._settings.history})
            self._tail.advance(self.partition, last - len(written) + 1, written, last + 1)
        return tick.outcomes(last)

    async def _commit(self, writer: FencedWriter, tick: Tick) -> int:
        records = self._outgoing(tick)
        replies = (lambda last: list(tick.replies(self._settings, last))) if tick.has_commands else None
        history = self._settings.history
        told: dict[str, AttributeValue] = {
            n.SYSTEM: n.KAFKA,
            n.OPERATION_NAME: "commit",
            n.OPERATION_TYPE: "settle",
            n.DESTINATION: history,
            n.PARTITION: str(self.partition),
            n.BATCH_COUNT: len(records),
        }
        with span_of_all(n.commit(history), SpanKind.CLIENT, traced(tick.events), told) as current:
            last = await writer.commit(records, reply=replies)
            if current.is_recording():
                events, first = tick.events, last + 1 - len(tick.events)
                current.set_attributes(
                    places([(history, self.partition, offset) for offset in range(first, last + 1)])
                    | streams([(event.stream, event.sequence or 0) for event in events])
                )
            return last

    def _outgoing(self, tick: Tick) -> list[Outgoing]:
        return tick.outgoing(self._settings, self._clock.now())
