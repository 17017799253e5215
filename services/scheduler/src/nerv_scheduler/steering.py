# SPDX-License-Identifier: Apache-2.0
"""Take orders and signals: record them, and have the queue follow. Who takes the intention makes good a death in between."""

import asyncio
from collections.abc import Callable

import structlog

from nerv.errors import Conflict, IdConflict, NervError, NotFound, UnknownOutcome
from nerv.protocols import Clock
from nerv.protocols.queue import Queue
from nerv.types import Event
from nerv_scheduler.events import RunEvents
from nerv_scheduler.orders import check_steps, refusal
from nerv_scheduler.record import Given, Order, RunRecord, Signal
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.runs import INTENT_SECONDS, SUBMIT_SECONDS, Recovery
from nerv_scheduler.waiting import SIGNALS_LIMIT, signal_names

log = structlog.get_logger(__name__)


class Steering:
    """Has runs cancelled, paused, resumed and restarted, and tells them what they wait for."""

    def __init__(
        self, queue: Queue, recorder: Recorder, recovery: Recovery, clock: Clock, source: str, worker: str
    ) -> None:
        self._queue = queue
        self._recorder = recorder
        self._recovery = recovery
        self._clock = clock
        self._source = source
        self._worker = worker

    async def order(self, run: str, order: Order) -> RunRecord:
        """The run as history tells it once the order is recorded. The same order again has the same answer.

        Raises NotFound for the run or a step, Conflict when it cannot be carried out, IdConflict when its id was used for another
        order, Unavailable (nothing happened), UnknownOutcome (repeat it under the same id).
        """
        record = await self._recorder.read(run)
        check_steps(record.dag, order.steps)
        if order.id not in record.orders:
            _check(run, Given(order, refusal(record, order)))
            event = self._events(run).ordered(self._clock.now(), order)
            record = await self._record(run, event, order.id, lambda found: order.id in found.orders)
        given = record.orders[order.id]
        if given.order != order:
            raise IdConflict(f"order {order.id} of run {run} was to {given.order.kind.value} it; choose another id")
        _check(run, given)
        await self._carry_out(run, order.id)
        log.info("run.ordered", run=run, order=order.kind.value, id=order.id, reason=order.reason)
        return record

    async def signal(self, run: str, signal: Signal) -> RunRecord:
        """The run as history tells it once the signal is recorded. The same signal again has the same answer.

        Raises NotFound for the run, or when nothing of it waits for such a signal; Conflict when it has ended; IdConflict when
        the id was used for another signal; Unavailable (nothing happened), UnknownOutcome (repeat it under the same id).
        """
        record = await self._recorder.read(run)
        if _sent(record, signal.id) is None:
            _check_signal(record, signal)
            event = self._events(run).signalled(self._clock.now(), signal)
            record = await self._record(run, event, signal.id, lambda found: _sent(found, signal.id) is not None)
        known = _sent(record, signal.id)
        if known is not None and (known.name, known.payload) != (signal.name, signal.payload):
            raise IdConflict(
                f"signal {signal.id} of run {run} was {known.name} with another payload; choose another id"
            )
        await self._carry_out(run, signal.id)
        log.info("run.signalled", run=run, signal=signal.name, id=signal.id)
        return record

    def _events(self, run: str) -> RunEvents:
        return RunEvents(self._source, run, self._worker)

    async def _record(
        self, run: str, event: Event[bytes], given_id: str, recorded: Callable[[RunRecord], bool]
    ) -> RunRecord:
        self._recorder.check(event)
        await self._queue.intend(run, INTENT_SECONDS, order=True)
        unknown = f"history did not answer; repeat it with its id {given_id}"
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                await self._recorder.record(run, event)
                record = await self._recorder.read(run)
        except TimeoutError:
            raise UnknownOutcome(unknown) from None
        if not recorded(record):
            raise UnknownOutcome(unknown)
        return record

    async def _carry_out(self, run: str, given_id: str) -> None:
        try:
            await self._recovery.restore(run)
        except NervError as error:
            raise UnknownOutcome(
                f"it is recorded and will be carried out, but not yet: {error}; "
                f"to be sure repeat it with its id {given_id}"
            ) from error


def _sent(record: RunRecord, signal: str) -> Signal | None:
    return next((known for known in record.signals if known.id == signal), None)


def _check_signal(record: RunRecord, signal: Signal) -> None:
    names = signal_names(record)
    if signal.name not in names:
        raise NotFound(f"run {record.run} waits for no signal {signal.name!r}; it has {', '.join(names) or 'none'}")
    if record.status.ended:
        raise Conflict(f"run {record.run} has ended ({record.status.value}); nothing waits for a signal")
    if len(record.signals) >= SIGNALS_LIMIT:
        raise Conflict(f"run {record.run} has had {SIGNALS_LIMIT} signals, the limit; start another run")


def _check(run: str, given: Given) -> None:
    if given.refusal:
        raise Conflict(f"run {run} cannot {given.order.kind.value}: {given.refusal}")
