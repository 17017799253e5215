# SPDX-License-Identifier: Apache-2.0
"""Take orders: record them, and have the queue follow. Dying in between is made good by whoever takes the intention."""

import asyncio

import structlog

from nerv.errors import Conflict, IdConflict, NervError, UnknownOutcome
from nerv.protocols import Clock
from nerv.protocols.queue import Queue
from nerv_scheduler.events import RunEvents
from nerv_scheduler.orders import check_steps, refusal
from nerv_scheduler.record import Given, Order, RunRecord
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.runs import INTENT_SECONDS, SUBMIT_SECONDS, Recovery

log = structlog.get_logger(__name__)


class Steering:
    """Has runs cancelled, paused, resumed and restarted."""

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
            record = await self._record(run, order)
        given = record.orders[order.id]
        if given.order != order:
            raise IdConflict(f"order {order.id} of run {run} was to {given.order.kind.value} it; choose another id")
        _check(run, given)
        await self._carry_out(run, order)
        log.info("run.ordered", run=run, order=order.kind.value, id=order.id, reason=order.reason)
        return record

    async def _record(self, run: str, order: Order) -> RunRecord:
        event = RunEvents(self._source, run, self._worker).ordered(self._clock.now(), order)
        self._recorder.check(event)
        await self._queue.intend(run, INTENT_SECONDS, order=True)
        unknown = f"history did not answer; repeat it with the order's id {order.id}"
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                await self._recorder.record(run, event)
                record = await self._recorder.read(run)
        except TimeoutError:
            raise UnknownOutcome(unknown) from None
        if order.id not in record.orders:
            raise UnknownOutcome(unknown)
        return record

    async def _carry_out(self, run: str, order: Order) -> None:
        try:
            await self._recovery.restore(run)
        except NervError as error:
            raise UnknownOutcome(
                f"the order is recorded and will be carried out, but not yet: {error}; "
                f"to be sure repeat it with its id {order.id}"
            ) from error


def _check(run: str, given: Given) -> None:
    if given.refusal:
        raise Conflict(f"run {run} cannot {given.order.kind.value}: {given.refusal}")
