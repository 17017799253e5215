# SPDX-License-Identifier: Apache-2.0
"""Hand an event to a wait: record it in the run's history, wake the run, and have it found no longer, in this order.

Died in between, the event comes again, and what was done is found done.
"""

from datetime import timedelta

import structlog

from nerv.errors import NotFound, TooLarge
from nerv.protocols import Clock
from nerv.protocols.queue import Queue, Waiter
from nerv_scheduler.awaiting.matching import Arrived
from nerv_scheduler.events import RunEvents
from nerv_scheduler.model import to_ms
from nerv_scheduler.record import RunRecord
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.runs import Recovery
from nerv_scheduler.waiting import awaited_key

log = structlog.get_logger(__name__)

SKEW = timedelta(seconds=5)  # that the clock of who writes to a topic may be behind ours


def written_since_ms(record: RunRecord) -> int:
    """From when on events count for a run (milliseconds, of the record's time stamp)."""
    return to_ms(record.started - SKEW)


def looked_through_until_ms(record: RunRecord, node: str) -> int:
    """From when on a topic is to be looked through for a node: who opened its wait had looked before."""
    began = record.node(node).began
    since = written_since_ms(record)
    return since if began is None else max(since, to_ms(began - SKEW))


class Deliverer:
    """Delivers."""

    def __init__(
        self, queue: Queue, recorder: Recorder, recovery: Recovery, clock: Clock, source: str, worker: str
    ) -> None:
        self._queue = queue
        self._recorder = recorder
        self._recovery = recovery
        self._clock = clock
        self._source = source
        self._worker = worker

    async def deliver(self, waiter: Waiter, key: str, arrived: Arrived) -> bool:
        """Give an event to a wait that was found by its key. False: it is not for it. Raises Unavailable.

        What is found no longer is so in its own round: a restart may have opened the same wait anew since history was read.
        """
        run, node, turn = waiter
        try:
            record = await self._recorder.read(run)
        except NotFound:
            await self._queue.deafen(run, node, key, turn)
            return False
        known = record.node(node)
        other = known.wait is not None and awaited_key(known.wait) != key
        if record.round > turn or record.status.ended or known.verdict is not None or other:
            await self._queue.deafen(run, node, key, turn)
            return False
        if arrived.written_ms < written_since_ms(record):
            return False
        if known.early is None and (known.wait is None or known.wait.received is None):
            await self.record(record, node, arrived)
        await self._recovery.restore(run)
        await self._queue.deafen(run, node, key, turn)
        log.info("event.delivered", run=run, node=node, type=arrived.event["type"], id=arrived.event["id"])
        return True

    async def record(self, record: RunRecord, node: str, arrived: Arrived) -> None:
        """Append an event to the history of the run that waits for it; of one that is too large, all but its data."""
        events = RunEvents(self._source, record.run, self._worker)
        event = events.received(self._clock.now(), node, arrived.event, record.round)
        try:
            self._recorder.check(event)
        except TooLarge:
            bare = {**arrived.event, "data": None}
            event = events.received(self._clock.now(), node, bare, record.round)
        await self._recorder.record(record.run, event)
