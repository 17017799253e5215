# SPDX-License-Identifier: Apache-2.0
"""One attempt at a node, step by step. Dying between any two steps is safe; the order is what makes it so:

1. run the task;
2. record its result and its effects in history: the first result recorded stands, and an attempt that comes second takes
   that one for its own;
3. perform the effects, under ids that every attempt would give them;
4. record that they are performed;
5. tell the queue, which makes ready what waited for the node.

Who takes over after a death begins by reading history, and goes on after the last step that it finds there.
"""

import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from nerv.api.workflow.v1 import workflow_pb2
from nerv.app import App
from nerv.client import Client
from nerv.errors import NotFound, TooLarge
from nerv.protocols import Clock
from nerv.protocols.queue import END, Admission, Claim, Done, NodeStatus, Queue, RunStatus, TaskQueue
from nerv.types import Event
from nerv.workflows import Output, PermanentError, Result, control_of
from nerv.workflows.dag import needed
from nerv_scheduler.batched import Batched
from nerv_scheduler.controls import Controls
from nerv_scheduler.effects import Performer, write_down
from nerv_scheduler.events import RunEvents, effect_identities
from nerv_scheduler.fusing import Fusing
from nerv_scheduler.inputs import Given, Inputs
from nerv_scheduler.interruptions import HeldBackError, Interruptions, LostError, StoppedError
from nerv_scheduler.invoke import Callee, concurrency_key, invoke
from nerv_scheduler.model import (
    Conclusion,
    backoff,
    conclude,
    describe_error,
    fold_end,
    fold_node,
    is_permanent,
    output_of,
    ready_since,
)
from nerv_scheduler.patience import Patience
from nerv_scheduler.pools import Processes, Threads
from nerv_scheduler.record import NodeRecord, RunRecord, encoded
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.results import Results
from nerv_scheduler.settings import WorkSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Makes attempts. `source` is who writes the events, `worker` who holds the claims; `counts` is told what happens."""

    app: App
    callees: Mapping[str, Callee]
    queue: Queue
    recorder: Recorder
    performer: Performer
    client: Client | None
    threads: Threads
    processes: Processes
    fusing: Fusing
    interruptions: Interruptions
    controls: Controls
    inputs: Inputs
    results: Results
    patience: Patience
    clock: Clock
    settings: WorkSettings
    source: str
    worker: str
    counts: Counter[str]
    completed: Batched[Done, bool]

    async def work(self, claim: Claim, task: workflow_pb2.Task, returned: Callable[[], None]) -> None:
        """Bring a node to its verdict, to its next attempt, or to sleep. `returned` hears when its task has. Raises LostError."""
        if control_of(task.task) is not None:
            returned()  # nothing is called
            if not await self.patience(lambda: self.controls.work(claim, task)):
                self.refused(claim, "its token is old")
                raise LostError("the token of this attempt is old")
            return
        node: NodeRecord | None = None
        if claim.attempt > 1 or claim.over:
            node = (await self.patience(lambda: self.recorder.read(claim.run))).node(claim.node)
            claim = replace(claim, failures=max(claim.failures, node.failures))
        if node is None or node.verdict is None:
            if claim.over:
                await self.give_up(claim, "the run was over before it was done")
                return
            try:
                node = await self._verdict(claim, task, returned)
            except StoppedError:
                await self.give_up(claim, "the run was cancelled")
                return
            except HeldBackError:
                return
        await self.go_on(claim, task, node)

    async def conclude(
        self, claim: Claim, task: workflow_pb2.Task, outcome: Result | Exception, began: datetime
    ) -> None:
        """Go on with a node whose task has returned or raised this. Raises LostError."""
        await self.go_on(claim, task, await self._outcome(claim, task, outcome, began))

    async def go_on(self, claim: Claim, task: workflow_pb2.Task, node: NodeRecord | None) -> None:
        """Perform what a node with a verdict owes, and tell the queue; None: another attempt is to come. Raises LostError."""
        if node is not None and node.verdict is NodeStatus.COMPLETED and not node.effects_done:
            node = await self._effects(claim, task, node)
        if node is None:
            return
        if node.verdict is NodeStatus.COMPLETED:
            looked = claim.attempt > 1  # see `_record`
            done = Done(claim, output_of(node), suspect=looked, looked=looked)
            await self._write(claim, lambda: self.completed(done))
        else:
            error, looked = node.error, claim.attempt > 1
            await self._write(claim, lambda: self.queue.fail(claim, error, looked=looked))

    async def end(self, claim: Claim) -> None:
        """Close a run. What it comes to is decided by its history alone. Raises LostError."""
        record = await self.patience(lambda: self.recorder.read(claim.run))
        if record.round != claim.round:
            raise LostError(f"run {claim.run} was restarted")
        if record.ended is None:
            event = await self._end_event(claim, record)
            if await self.patience(lambda: self.recorder.record(claim.run, event)):
                record = fold_end(record, event)
            else:
                record = await self.patience(lambda: self.recorder.read(claim.run))
        status, error = record.status, record.error
        result = encoded(record.result) if status is RunStatus.COMPLETED else b""
        await self._write(claim, lambda: self.queue.close(claim, status, result=result, error=error))

    async def put_off(self, claim: Claim, error: str) -> None:
        """Have the node tried again later. Raises LostError."""
        pause = self._pause(claim)
        await self._write(claim, lambda: self.queue.fail(claim, error, retry_in=pause))

    async def give_up(self, claim: Claim, error: str) -> None:
        """The node is not to be done any more. Raises LostError."""
        await self._write(claim, lambda: self.queue.fail(claim, error, cancelled=True))

    async def _end_event(self, claim: Claim, record: RunRecord) -> Event[bytes]:
        """The run's last event; a result that is too large to be recorded is a failure, and says so."""
        events = RunEvents(self.source, claim.run, self.worker)
        try:
            # What one node returned is returned by its reference.
            whole = record.status is RunStatus.RUNNING and not isinstance(record.dag.result, Output)
            large = needed(record.dag.result) if whole else ()
            conclusion = conclude(await self.results.filled(record, large))
            result = await self.results.kept(claim.run, END, conclusion.result)
            event = events.ended(self.clock.now(), replace(conclusion, result=result), claim.round)
            self.recorder.check(event)
        except PermanentError as error:
            return events.ended(self.clock.now(), Conclusion(RunStatus.FAILED, error=str(error)), claim.round)
        except TooLarge as error:
            failure = Conclusion(RunStatus.FAILED, error=f"the run's result is too large: {error}")
            return events.ended(self.clock.now(), failure, claim.round)
        return event

    async def _verdict(self, claim: Claim, task: workflow_pb2.Task, returned: Callable[[], None]) -> NodeRecord | None:
        """Run the task and record what came of it; None when there is another attempt to come."""
        began = self.clock.now()
        outcome: Result | Exception
        try:
            callee, given = await self._prepared(claim, task)
            began = self.clock.now()
            outcome = await self._call(claim, task, callee, given)
        except (LostError, StoppedError, HeldBackError):
            raise
        except Exception as error:  # the team's code; what it raises is the team's to choose
            outcome = error
        returned()
        return await self._outcome(claim, task, outcome, began)

    async def _outcome(
        self, claim: Claim, task: workflow_pb2.Task, outcome: Result | Exception, began: datetime
    ) -> NodeRecord | None:
        events = RunEvents(self.source, claim.run, self.worker)
        try:
            event = await self._event(claim, task, outcome, began)
        except Exception as error:
            text = describe_error(error)
            self.counts["failed"] += 1
            log.warning("task.failed", run=claim.run, node=claim.node, attempt=claim.attempt, error=text)
            if not is_permanent(error) and self._may_retry(claim, task.task) and not await self._too_late(claim, task):
                failed = events.attempt_failed(self.clock.now(), claim, task.task, text)
                await self.patience(lambda: self.recorder.record(claim.run, failed))
                await self.put_off(claim, text)
                return None
            event = events.failed(self.clock.now(), claim, task.task, text)
        return await self._record(claim, NodeRecord(), event)

    async def _prepared(self, claim: Claim, task: workflow_pb2.Task) -> tuple[Callee, Given]:
        """What is called, and with what, once there is a place for it. Raises PermanentError, LostError, HeldBackError."""
        if claim.losses > self.settings.losses:
            raise PermanentError(f"its replica died {claim.losses} times while it ran; look into what it does there")
        callee = self.callees.get(task.task)
        if callee is None:
            raise NotFound(f"app {self.app.name} has no task {task.task!r} (any more)")
        given = await self.inputs.given(claim.run, task)
        await self._enter(claim, callee, given.arguments)
        return callee, given

    async def _call(self, claim: Claim, task: workflow_pb2.Task, callee: Callee, given: Given) -> Result:
        """Call the task. Raises what the task raises, PermanentError, StoppedError."""
        call = invoke(callee, given.arguments, self.client, self.threads, self.processes)
        since = time.perf_counter()
        result = await self.interruptions.guard([claim], call)
        seconds = time.perf_counter() - since
        self.fusing.note(task.task, seconds)
        if given.is_part:
            self.controls.splitting.note(task.task, len(given.arguments[0]), seconds)
        return result

    async def _enter(self, claim: Claim, callee: Callee, arguments: Sequence[Any]) -> None:
        """Have a place under the concurrency key of a task that has one. Raises HeldBackError, LostError, PermanentError."""
        if callee.spec.concurrency is None:
            return
        key, most = concurrency_key(callee, arguments), callee.spec.concurrency.most
        admission = await self.patience(lambda: self.queue.enter(claim, key, most))
        if admission is Admission.WAITS:
            raise HeldBackError(f"{claim.node} of run {claim.run}")
        if admission is Admission.LOST:
            raise LostError("the token of this attempt is old")

    async def _event(
        self, claim: Claim, task: workflow_pb2.Task, outcome: Result | Exception, began: datetime
    ) -> Event[bytes]:
        """The event of a result. Raises what the task has raised, PermanentError, TooLarge."""
        if isinstance(outcome, Exception):
            raise outcome
        value = await self.results.kept(claim.run, claim.node, outcome.value)
        now = self.clock.now()
        ids = effect_identities(self.app.name, task.workflow, claim, outcome.effects)
        outside = self.settings.http_allow
        effects = write_down(self.app, claim.run, outcome.effects, ids, now, outside=outside)
        events = RunEvents(self.source, claim.run, self.worker)
        event = events.completed(now, claim, task.task, value, effects, began=began)
        self.recorder.check(event)
        return event

    async def _effects(self, claim: Claim, task: workflow_pb2.Task, node: NodeRecord) -> NodeRecord | None:
        """Perform a node's effects and record it; None when a target is away, and the node is tried again later.

        There is no last try: the result is recorded, and so its effects are owed.
        """
        events = RunEvents(self.source, claim.run, self.worker)
        # A replica that was stopped for longer than its lease must not go on here beside the one that took over.
        held = await self.patience(lambda: self.queue.renew(self.worker, [claim]))
        if any(not other.over for other in held):
            raise LostError(f"{claim.node} of run {claim.run} has been given to another replica")
        performed, error = await self.performer.perform(node.effects, node.performed)
        if error is None:
            return await self._record(claim, node, events.effects_done(self.clock.now(), claim, task.task))
        text = f"its effects: {describe_error(error)}"
        log.warning("effects.failed", run=claim.run, node=claim.node, attempt=claim.attempt, error=text)
        if is_permanent(error):
            return await self._record(claim, node, events.effects_refused(self.clock.now(), claim, task.task, text))
        if performed > node.performed:
            # Those before it are not owed any more, however long this one is.
            event = events.effects_performed(self.clock.now(), claim, task.task, performed)
            await self.patience(lambda: self.recorder.record(claim.run, event))
        await self.put_off(claim, text)
        return None

    async def _record(self, claim: Claim, node: NodeRecord, event: Event[bytes]) -> NodeRecord:
        """The node after an event; where another attempt was first, after that one's."""
        if await self.patience(lambda: self.recorder.record(claim.run, event)):
            if claim.attempt == 1:
                return fold_node(node, event)
        else:
            self.refused(claim, "another attempt was recorded first")
        # An earlier attempt may have come in between, in a quantum, whose id is another.
        return (await self.patience(lambda: self.recorder.read(claim.run))).node(claim.node)

    async def _write(self, claim: Claim, write: Callable[[], Awaitable[bool]]) -> None:
        if not await self.patience(write):
            await self.refuse(claim)
            raise LostError("the token of this attempt is old")

    async def refuse(self, claim: Claim) -> None:
        """Count a completion that is not taken. A node that is ours all the same goes to who looks into history first."""
        self.refused(claim, "its token is old")
        await self.patience(lambda: self.queue.release(claim))

    def refused(self, claim: Claim, why: str) -> None:
        """Count a completion that came too late."""
        self.counts["stale"] += 1
        log.warning("completion.stale", run=claim.run, node=claim.node, attempt=claim.attempt, detail=why)

    def _may_retry(self, claim: Claim, task: str) -> bool:
        return task in self.callees and claim.failures < self.callees[task].spec.retries

    async def _too_late(self, claim: Claim, task: workflow_pb2.Task) -> bool:
        """Whether the task's deadline, counted from when it was ready, has passed before another attempt could begin."""
        deadline = self.callees[task.task].spec.deadline
        if deadline is None:
            return False
        ready = ready_since(await self.patience(lambda: self.recorder.read(claim.run)), claim.node)
        return self.clock.now() + timedelta(seconds=self._pause(claim)) >= ready + timedelta(seconds=deadline)

    def _pause(self, claim: Claim) -> float:
        chance = random.random()  # noqa: S311 - jitter, no secret
        return backoff(claim.failures, self.settings.retry_first_seconds, self.settings.retry_longest_seconds, chance)


def completions(queue: TaskQueue) -> Batched[Done, bool]:
    """What tells the queue of completed nodes: those that come while a script is under way go together in the next."""
    return Batched(queue.complete, lambda done: len(done.result) + sum(len(link.result) for link in done.chain))
