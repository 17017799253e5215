# SPDX-License-Identifier: Apache-2.0
"""Tiny tasks of a run as one quantum: called one after the other, recorded by one event, told to the queue by one script.

Dying between any two steps is safe, as with a single attempt (`attempt`): what is recorded stands, what is not is done again.
The event's id is made of its first nodes, so that two quanta may hold one node: the first verdict that history has of a node
stands, and of a chain nothing counts behind a node that had another verdict before. Only the holder of valid tokens tells the
queue; a node that may have been attempted before is looked up before, and what stands is read again after.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any

import orjson
import structlog
from opentelemetry.trace import SpanKind

from nerv.api.workflow.v1 import workflow_pb2
from nerv.errors import TooLarge
from nerv.protocols.queue import Done, Link, NodeStatus
from nerv.telemetry import names as n
from nerv.telemetry import span_of_all, traced, unsampled
from nerv.workflows import PermanentError, Result
from nerv_scheduler.attempt import Attempts
from nerv_scheduler.course import Course, Outcome, Ran, asked
from nerv_scheduler.effects import write_down
from nerv_scheduler.events import RunEvents, effect_identities
from nerv_scheduler.fusing import Strand
from nerv_scheduler.interruptions import LostError, StoppedError
from nerv_scheduler.invoke import Callee, call_now, invoke
from nerv_scheduler.model import describe_error, is_permanent, output_of, to_ms
from nerv_scheduler.record import NodeRecord, RunRecord

log = structlog.get_logger(__name__)

HandBack = Callable[[Sequence[Strand]], Awaitable[None]]

HOLD_SECONDS = 0.005  # for so long a quantum on the loop keeps it to itself


class Quanta:
    """Does quanta."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    async def perform(self, strands: Sequence[Strand], hand_back: HandBack, returned: Callable[[], None]) -> None:
        """Do these, all of one run. Those that there is no time for are handed back, and do not wait for one that takes long.
        `returned` hears when all that was called has returned. Raises LostError.
        """
        a, run = self._attempts, strands[0].claim.run
        suspect = any(strand.claim.attempt > 1 for strand in strands)
        if suspect:
            strands = await self._unsettled(strands, await a.patience(lambda: a.recorder.read(run)))
        if not strands:
            return
        try:
            course = await self._course(run, strands)
        except PermanentError:
            # What one of them is given is lost: each finds out for itself. Their place is free after the last.
            await self._each(strands, lambda strand: a.work(strand.claim, strand.task, lambda: None))
            return
        called = asyncio.Event()
        dividing = asyncio.create_task(self._divide(course, called, hand_back))
        try:
            await self._call(course, strands, called)
            returned()
            await self._settle(course, suspect)
        except asyncio.CancelledError:
            dividing.cancel()
            raise
        finally:
            await dividing

    async def _call(self, course: Course, strands: Sequence[Strand], called: asyncio.Event) -> None:
        a = self._attempts
        try:
            call = self._on_loop(course) if a.callees[strands[0].task.task].is_async else self._in_thread(course)
            await a.interruptions.guard([strand.claim for strand in strands], call)
        except StoppedError:
            await self._stop(course)
        finally:
            called.set()

    async def _divide(self, course: Course, called: asyncio.Event, hand_back: HandBack) -> None:
        """Hand back what has not begun once the calls have ended, one takes much longer than was thought, or time is up."""
        while not called.is_set() and (patience := course.patience()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await called.wait()
        if not called.is_set():
            course.note_unfinished()
        if left := course.rest():
            await hand_back(left)

    async def _stop(self, course: Course) -> None:
        """The run is cancelled: what nothing has come of is given up."""
        course.over = True
        idle = [strand for strand, ran in course.begun if not ran]
        left = (*idle, *course.rest())
        await self._each(left, lambda strand: self._attempts.give_up(strand.claim, "the run was cancelled"))

    async def _unsettled(self, strands: Sequence[Strand], record: RunRecord) -> Sequence[Strand]:
        """Those that history has no verdict of; the others are seen to."""
        left, settled = [], []
        for strand in strands:
            node = record.node(strand.claim.node)
            if node.verdict is None:
                failures = max(strand.claim.failures, node.failures)
                left.append(replace(strand, claim=replace(strand.claim, failures=failures)))
            else:
                settled.append(strand)
        go_on = self._attempts.go_on
        await self._each(settled, lambda strand: go_on(strand.claim, strand.task, record.node(strand.claim.node)))
        return left

    async def _each(self, strands: Iterable[Strand], call: Callable[[Strand], Awaitable[None]]) -> None:
        """Call for each; one that is lost keeps none of the others from its due."""
        for strand in strands:
            try:
                await call(strand)
            except LostError as lost:
                log.info("claim.lost", run=strand.claim.run, node=strand.claim.node, detail=str(lost))

    async def _course(self, run: str, strands: Sequence[Strand]) -> Course:
        a = self._attempts
        arguments = asked(strands)
        needs = [argument for given in arguments.values() for argument in given]
        outputs = await a.inputs.outputs(run, needs, arguments)
        return Course(strands, arguments, outputs, a.callees, a.clock, a.fusing)

    async def _on_loop(self, course: Course) -> None:
        a, since = self._attempts, time.monotonic()
        outcome: Outcome | None = None
        while (step := course.next(outcome)) is not None:
            task, callee, arguments = step
            try:
                with self._traced(task):
                    outcome = await invoke(callee, arguments, a.client, a.threads, a.processes)
            except Exception as error:  # the team's code; what it raises is the team's to choose
                outcome = error
            if time.monotonic() - since > HOLD_SECONDS:
                await asyncio.sleep(0)
                since = time.monotonic()

    async def _in_thread(self, course: Course) -> None:
        """All in one thread. One that takes longer than its task may is left to itself, and its task has failed."""
        try:
            async with asyncio.timeout(course.timeout):
                await self._attempts.threads.call(lambda: self._call_all(course))
        except TimeoutError:
            course.over = True
            for strand, ran in course.begun[-1:]:
                if ran:
                    continue
                now, task = self._attempts.clock.now(), strand.task.task
                late = TimeoutError(f"task {task} took longer than {self._attempts.callees[task].spec.timeout:g} s")
                ran.append(Ran(strand.task, now, now, late))

    def _call_all(self, course: Course) -> None:
        outcome: Outcome | None = None
        while (step := course.next(outcome)) is not None:
            task, callee, arguments = step
            with self._traced(task):
                outcome = _called(callee, arguments)

    async def _settle(self, course: Course, suspect: bool) -> None:
        """Record, go on with those that stand alone, and tell the queue."""
        fused = [(strand, ran) for strand, ran in course.begun if ran and ran[0].plain]
        if fused:
            await self._record(fused, suspect)
        await self._alone([(strand, ran) for strand, ran in course.begun if ran and not ran[0].plain])

    async def _alone(self, begun: Sequence[tuple[Strand, list[Ran]]]) -> None:
        """Go on with the first of each strand as with a single attempt."""
        first = {strand.claim.token: ran[0] for strand, ran in begun}

        async def conclude(strand: Strand) -> None:
            ran = first[strand.claim.token]
            await self._attempts.conclude(strand.claim, strand.task, ran.outcome, ran.began)

        await self._each([strand for strand, _ in begun], conclude)

    async def _record(self, fused: Sequence[tuple[Strand, list[Ran]]], suspect: bool) -> None:
        a, claim = self._attempts, fused[0][0].claim
        events = RunEvents(a.source, claim.run, a.worker)
        # What is large is done alone, and put into the store.
        chains = [[self._entry(strand, one) for one in ran if not one.large] for strand, ran in fused]
        event = events.quantum(a.clock.now(), [strand.claim for strand, _ in fused], chains)
        try:
            a.recorder.check(event)
        except TooLarge:
            # What ended the chains is large: the first of each stands alone, and what followed it is done once more.
            await self._alone(fused)
            return
        if await a.patience(lambda: a.recorder.record(claim.run, event)) and not suspect:
            done = [_done(strand, ran) for strand, ran in fused]
        else:
            record = await a.patience(lambda: a.recorder.read(claim.run))
            settled = [strand for strand, _ in fused if _settled(record.node(strand.claim.node))]
            done = [_found(strand, record) for strand in settled]
            others = [strand for strand, _ in fused if strand not in settled]
            await self._each(others, lambda one: a.go_on(one.claim, one.task, record.node(one.claim.node)))
        a.counts["quanta"] += 1
        a.counts["fused"] += sum(1 + len(one.chain) for one in done)
        await self._complete(done)

    async def _complete(self, done: Sequence[Done]) -> None:
        a = self._attempts
        for one, accepted in zip(done, await a.patience(lambda: a.queue.complete(done)), strict=True):
            if not accepted:
                await a.refuse(one.claim)

    def _entry(self, strand: Strand, ran: Ran) -> dict[str, Any]:
        """What the record says of one node."""
        a, task = self._attempts, ran.task
        attempt = strand.claim.attempt if task.node == strand.claim.node else 1
        entry: dict[str, Any] = {
            "node": task.node,
            "task": task.task,
            "attempt": attempt,
            "began": ran.began,
            "ended": ran.ended,
        }
        outcome = ran.outcome
        if isinstance(outcome, Result) and outcome.effects:
            claim = replace(strand.claim, node=task.node)
            ids = effect_identities(a.app.name, task.workflow, claim, outcome.effects)
            try:
                entry["effects"] = write_down(
                    a.app, claim.run, outcome.effects, ids, ran.ended, outside=a.settings.http_allow
                )
            except Exception as error:
                outcome = error
        if isinstance(outcome, Result):
            return entry | {"result": orjson.Fragment(ran.json)}
        final = is_permanent(outcome) or not a.callees[task.task].spec.retries
        return entry | {"error": describe_error(outcome), "final": final}

    def _traced(self, task: workflow_pb2.Task) -> AbstractContextManager[Any]:
        """A span of the task in the trace of its run."""
        contexts = traced([task])
        if not contexts:
            return unsampled()
        attributes = {n.WORKFLOW: task.workflow, n.RUN: task.run, n.TASK: task.task, n.SYSTEM: n.REDIS}
        return span_of_all(n.process(task.task), SpanKind.CONSUMER, contexts, attributes)


def _called(callee: Callee, arguments: Sequence[Any]) -> Outcome:
    try:
        return call_now(callee, arguments)
    except Exception as error:  # the team's code; what it raises is the team's to choose
        return error


def _done(strand: Strand, ran: Sequence[Ran]) -> Done:
    """What is told of a strand that is done. What follows one that has failed or has effects owed is looked up in history."""
    chain = tuple(Link(one.task.node, one.json, to_ms(one.began), to_ms(one.ended)) for one in ran[1:] if one.plain)
    return Done(strand.claim, ran[0].json, chain, suspect=not ran[-1].plain)


def _found(strand: Strand, record: RunRecord) -> Done:
    """The same as history has it."""
    node = record.node(strand.claim.node)
    chain = tuple(_links(strand, record))
    return Done(strand.claim, output_of(node), chain, suspect=True, looked=True)


def _links(strand: Strand, record: RunRecord) -> Iterator[Link]:
    for task in strand.chain:
        node = record.node(task.node)
        if not _settled(node):
            return
        yield Link(task.node, output_of(node), to_ms(node.began), to_ms(node.ended))


def _settled(node: NodeRecord) -> bool:
    return node.verdict is NodeStatus.COMPLETED and node.effects_done
