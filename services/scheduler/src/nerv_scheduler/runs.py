# SPDX-License-Identifier: Apache-2.0
"""Start runs, and put back what the queue has lost."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from opentelemetry.trace import SpanKind

from nerv.app import App, WorkflowSpec
from nerv.errors import IdConflict, NervError, NotFound, Retry, UnknownOutcome
from nerv.protocols import Clock
from nerv.protocols.queue import DEADLINE, Queue, RunStatus
from nerv.telemetry import names as n
from nerv.telemetry import span
from nerv.telemetry.traffic import saw
from nerv.types import check_id, format_instant
from nerv.workflows import Cause, Dag, draw
from nerv.workflows.drawing import plain
from nerv_scheduler.events import RunEvents
from nerv_scheduler.fingerprints import code_of
from nerv_scheduler.fitting import check_calls
from nerv_scheduler.invoke import Callee
from nerv_scheduler.model import fold, plan
from nerv_scheduler.open_runs import OpenRuns
from nerv_scheduler.record import Order, OrderKind, RunRecord, stream_of
from nerv_scheduler.recorder import Recorder

log = structlog.get_logger(__name__)

SUBMIT_SECONDS = 10.0
# Longer than a submission can take to be recorded or aborted, Kafka's transaction time-out included.
INTENT_SECONDS = 40.0
AT_ONCE = 16  # runs that are put back at once


class Starter:
    """Starts runs of the app's workflows, each once."""

    def __init__(
        self,
        app: App,
        callees: Mapping[str, Callee],
        queue: Queue,
        recorder: Recorder,
        clock: Clock,
        source: str,
        worker: str,
        task_limit: int,
    ) -> None:
        self._app = app
        self._callees = callees
        self._queue = queue
        self._recorder = recorder
        self._clock = clock
        self._source = source
        self._worker = worker
        self._task_limit = task_limit

    async def start(
        self,
        workflow: str,
        run_input: Mapping[str, Any],
        run: str,
        version: int | None = None,
        cause: Cause | None = None,
    ) -> bool:
        """Draw, record, put into the queue. False: this run was started before, with the same input.

        Without a version it is the workflow's highest. `cause` is recorded with the start.

        Raises NotFound for the workflow, Invalid, TooLarge, IdConflict when the run was started otherwise, Unavailable,
        UnknownOutcome. Repeating it with the same run is safe; a start that is given up half-way is finished by others.
        """
        check_id(stream_of(run), "stream of the run")
        spec, dag = self.draw(workflow, run_input, version)
        told = {n.WORKFLOW: workflow, n.RUN: run, n.SYSTEM: n.REDIS, n.STREAM: stream_of(run)}
        with span(n.send(workflow), SpanKind.PRODUCER, begin=True, attributes=told):
            code = code_of(self._app, spec, dag)
            event = RunEvents(self._source, run, self._worker).submitted(
                self._clock.now(),
                workflow,
                run_input,
                dag,
                deadline=spec.deadline,
                version=spec.version,
                code=code,
                priority=spec.priority,
                cause=cause,
            )
            await self._queue.intend(run, INTENT_SECONDS)
            try:
                new = await self._recorder.submit(run, event, SUBMIT_SECONDS)
            except TimeoutError:
                raise UnknownOutcome(f"history did not answer; repeat it with the run id {run}") from None
            if new:
                record = fold(run, [event], dag)
                saw("service:scheduler", f"workflow:{workflow}", 1)
            else:
                record = await self._recorder.read(run)
                _check_same(record, workflow, run_input)
            # The reply of an earlier try may be lost and the run long under way: the queue knows it then.
            if new or not record.status.ended:
                await self._queue.start(plan(record, self._clock.now(), new=new))
            return new

    def draw(self, workflow: str, run_input: Mapping[str, Any], version: int | None = None) -> tuple[WorkflowSpec, Dag]:
        """What a run would be. Raises NotFound for the workflow or its version, Invalid, TooLarge."""
        spec = self._app.workflows.get(workflow)
        if spec is None:
            known = ", ".join(sorted(self._app.workflows)) or "none"
            raise NotFound(f"there is no workflow {workflow!r}; there are {known}")
        if version is not None and version != spec.version:
            spec = self._version(workflow, version)
        dag = draw(spec, self._app.tasks, run_input, self._task_limit)
        check_calls(dag, self._callees)
        return spec, dag

    def _version(self, workflow: str, version: int) -> WorkflowSpec:
        versions = {number: spec for (name, number), spec in self._app.workflow_versions.items() if name == workflow}
        if version not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise NotFound(f"workflow {workflow!r} has no version {version}; it has {known}")
        return versions[version]


def _check_same(record: RunRecord, workflow: str, run_input: Mapping[str, Any]) -> None:
    if record.workflow != workflow or dict(record.input) != plain(run_input, "the input"):
        raise IdConflict(f"run {record.run} was started as {record.workflow} with another input; choose another run id")


class Recovery:
    """Puts unfinished runs back into a queue that has lost or parked them: history says which, and how far they came."""

    def __init__(
        self, queue: Queue, recorder: Recorder, open_runs: OpenRuns, clock: Clock, source: str, worker: str
    ) -> None:
        self._queue = queue
        self._recorder = recorder
        self._open_runs = open_runs
        self._clock = clock
        self._source = source
        self._worker = worker

    async def unfinished(self) -> list[str]:
        """The runs that history says have not ended. It reads what was recorded since it was last called. Raises Unavailable."""
        return list(await self._open_runs.follow())

    async def restore(self, run: str, *, at_ms: int = 0) -> bool:
        """Put one run back if history says that it is unfinished, and have it follow its orders. False: it was all there.

        One whose deadline has passed is ended by that. One whose history cannot be read holds up no other. `at_ms` is what the
        queue's clock says, if it is known: what is due by it is due, also where this machine's clock is behind.
        """
        now = max(self._clock.now(), datetime.fromtimestamp(at_ms / 1000, UTC))
        try:
            record = await self._recorder.read(run)
        except NotFound:
            return False
        except NervError as error:
            if error.retry is not Retry.NEVER:
                raise
            log.error("run.unreadable", run=run, error=str(error))
            return False
        if record.status.ended and not await self._goes_on(run):
            return False
        record = await self._expire(record, now)
        restored = await self._queue.start(plan(record, now), restore=True)
        if restored:
            log.info("run.restored", run=run, workflow=record.workflow, known=len(record.nodes))
        return restored

    async def _goes_on(self, run: str) -> bool:
        """Whether the queue has a run that has ended as one that has not: it has lost the end, and closes it once more."""
        status = await self._queue.status(run)
        return status is not None and not status.ended

    async def _expire(self, record: RunRecord, now: datetime) -> RunRecord:
        """End a run whose deadline has passed; the order of the stream decides whether that came before its end."""
        over = record.status is RunStatus.CANCELLING or record.status.ended
        if record.deadline is None or record.deadline > now or over:
            return record
        reason = f"its deadline of {record.deadline_seconds:g} s passed at {format_instant(record.deadline)}"
        order = Order(f"{DEADLINE}:{record.round}", OrderKind.EXPIRE, reason)
        await self._recorder.record(record.run, RunEvents(self._source, record.run, self._worker).ordered(now, order))
        log.info("run.expired", run=record.run, workflow=record.workflow, deadline=str(record.deadline))
        return await self._recorder.read(record.run)

    async def restore_all(self) -> int:
        """Put every unfinished run back; answers how many were. Harmless when nothing was lost, and from many replicas.

        What is lost meanwhile is noticed: the queue stays what it is, not known to be intact, and all is done again.
        """
        witness = await self._queue.witness(self._worker)
        unfinished = await self.unfinished()
        restored = await self.restore_these(unfinished)
        await self._queue.mark_intact(await self._open_runs.latest(), witness=witness)
        log.info("queue.intact", unfinished=len(unfinished), restored=restored)
        return restored

    async def restore_these(self, runs: Sequence[str]) -> int:
        """Put runs back, some at once; answers how many were."""
        count = 0
        for at in range(0, len(runs), AT_ONCE):
            some = (self.restore(run) for run in runs[at : at + AT_ONCE])
            for found in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(found, BaseException):
                    raise found
                count += found
        return count
