# SPDX-License-Identifier: Apache-2.0
"""The worker of a replica: takes nodes as it has room, works on them, and gives back what it cannot finish."""

import asyncio
import random
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import structlog
from opentelemetry.trace import SpanKind

from nerv.api.workflow.v1 import workflow_pb2
from nerv.errors import NervError
from nerv.protocols.queue import END, Claim, Orphan, Queue
from nerv.telemetry import Carrier, span
from nerv.telemetry import names as n
from nerv_scheduler.attempt import Attempts, LostError
from nerv_scheduler.keeper import Keeper
from nerv_scheduler.model import describe_error
from nerv_scheduler.runs import Recovery
from nerv_scheduler.settings import WorkSettings

log = structlog.get_logger(__name__)

# How long one look waits for work: it bounds how late a due retry is noticed, and a stop.
POLL_SECONDS = 0.25
PAUSE_SECONDS = 0.5
# The chassis ends the process 9.5 s after the signal: requests may take 3 s of that, the drain 5 s.
CANCEL_SECONDS = 0.3
RELEASE_SECONDS = 0.7


class Worker:
    """Works from entering to leaving. `crashed` is set when the loop itself fails."""

    def __init__(
        self, attempts: Attempts, queue: Queue, keeper: Keeper, recovery: Recovery, settings: WorkSettings
    ) -> None:
        self.crashed: asyncio.Future[None] | None = None
        self._attempts = attempts
        self._queue = queue
        self._keeper = keeper
        self._recovery = recovery
        self._settings = settings
        self._name = attempts.worker
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._room = asyncio.Event()
        self._stopping = False
        self._fault: str | None = "has not looked for work yet"
        self._loop: asyncio.Task[None] | None = None

    def fault(self) -> str | None:
        """Why no work is taken; None when it is."""
        return self._fault

    @property
    def room(self) -> int:
        """How many nodes may be taken now. A thread that has outlived its time-out takes its place until it ends."""
        stuck = max(0, self._attempts.threads.running - len(self._running))
        return self._settings.concurrency - len(self._running) - stuck

    async def __aenter__(self) -> Self:
        self._loop = asyncio.create_task(self._work())
        self._loop.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._room.set()
        if self._loop is not None:
            await asyncio.wait({self._loop})
        if self._running:
            await asyncio.wait(set(self._running), timeout=self._settings.drain_seconds)
        await self._give_back()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self.crashed is not None and not self.crashed.done():
            self.crashed.set_exception(error)

    async def _work(self) -> None:
        while not self._stopping:
            if self.room <= 0:
                await self._wait_for_room()
                continue
            try:
                await self._take()
            except NervError as error:
                self._fault = f"cannot look for work: {error}"
                log.warning("work.not_taken", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret

    async def _wait_for_room(self) -> None:
        # A thread that outlived its time-out wakes nobody when it ends, hence the limit.
        self._room.clear()
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._room.wait()
        except TimeoutError:
            return

    async def _take(self) -> None:
        taken = await self._queue.take(self._name, self.room, POLL_SECONDS)
        for claim in taken.claims:
            self._begin(claim)
        await self._adopt(taken.orphans)
        if not taken.intact:
            self._fault = "the queue is empty or was lost; asking history for unfinished runs"
            await self._recovery.restore_all()
        self._fault = None

    async def _adopt(self, orphans: Sequence[Orphan]) -> None:
        """Restore first, then forget the entries: dying in between leaves them to others."""
        for run in {orphan.run for orphan in orphans}:
            await self._recovery.restore(run)
        for orphan in orphans:
            await self._queue.drop(orphan)

    def _begin(self, claim: Claim) -> None:
        task = asyncio.create_task(self._perform(claim))
        self._running[task] = claim
        self._keeper.hold(claim, lambda: _cancel(task), lambda: self._attempts.interruptions.stop(claim))
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        claim = self._running.pop(task)
        self._keeper.let_go(claim)
        self._room.set()

    async def _perform(self, claim: Claim) -> None:
        task = workflow_pb2.Task.FromString(claim.message)
        context = Carrier(task.traceparent or None, task.tracestate or None)
        attributes: dict[str, str | int] = {
            n.WORKFLOW: task.workflow,
            n.RUN: claim.run,
            n.TASK: task.task or claim.node,
            n.ATTEMPT: claim.attempt,
            n.SYSTEM: n.REDIS,
        }
        name = f"process {task.task or task.workflow}"
        try:
            with span(name, SpanKind.CONSUMER, parent=context, attributes=attributes):
                if claim.node == END:
                    await self._attempts.end(claim)
                else:
                    await self._attempts.work(claim, task)
        except LostError as lost:
            log.info("claim.lost", run=claim.run, node=claim.node, attempt=claim.attempt, detail=str(lost))
        except Exception as error:
            log.exception("attempt.broken", run=claim.run, node=claim.node, attempt=claim.attempt)
            await self._put_off(claim, describe_error(error))

    async def _put_off(self, claim: Claim, error: str) -> None:
        try:
            await self._attempts.put_off(claim, error)
        except LostError:
            return

    async def _give_back(self) -> None:
        """Stop what did not finish in time, and let others have it at once."""
        left = dict(self._running)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(set(left), timeout=CANCEL_SECONDS)
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await asyncio.gather(*(self._queue.release(claim) for claim in left.values()))
        except (NervError, TimeoutError) as error:
            # Their leases run out, and others take them then.
            log.warning("work.not_given_back", error=str(error), nodes=len(left))
        if left:
            log.info("work.given_back", nodes=len(left))


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
