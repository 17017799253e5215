# SPDX-License-Identifier: Apache-2.0
"""What the mesh itself does at a node: expand a map, split a list, decide a condition, wait. Each decision is recorded before
it is followed.

A wait goes in this order, and dying after any of these is made good by whoever takes the node next:
1. for an event: have it found by its key from now on, and then look through what was written since the run was started;
2. record that it is open, and until when; who finds it open later looks through what was written since then;
3. put the node to sleep; a queue that has been told of more than was read here wakes it at once;
4. woken, record by what it ended, and what it returns.
"""

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from nerv.api.workflow.v1 import workflow_pb2
from nerv.errors import Invalid, TooLarge
from nerv.protocols import Clock
from nerv.protocols.queue import Claim, NodeStatus, Queue
from nerv.types import Event
from nerv.workflows import Control, PermanentError, resolve
from nerv.workflows.dag import needed
from nerv_scheduler.events import RunEvents
from nerv_scheduler.model import output_of, plan, returned, to_ms
from nerv_scheduler.patience import Patience
from nerv_scheduler.record import NodeRecord, RunRecord, Wait
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.results import Results
from nerv_scheduler.splitting import Splitting
from nerv_scheduler.waiting import awaited_key, due_of, outcome


class Searching(Protocol):
    """Looks through topics."""

    async def search(self, record: RunRecord, node: str, wait: Wait) -> bool:
        """Record the event that a wait is for if it was written since the run was started. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Controls:
    """Does it."""

    queue: Queue
    recorder: Recorder
    searching: Searching
    results: Results
    splitting: Splitting
    patience: Patience
    clock: Clock
    source: str
    worker: str
    task_limit: int

    async def work(self, claim: Claim, task: workflow_pb2.Task) -> bool:
        """Bring a node to its verdict or to sleep. False: the token is old."""
        record = await self._read(claim)
        if record.round != claim.round:
            return False
        node = record.node(claim.node)
        # Who had it before may have died, or was quicker: what follows may have been done, too.
        suspect = node.verdict is not None
        if node.verdict is None and claim.over:
            return await self._write(lambda: self.queue.fail(claim, "the run is over", cancelled=True))
        if node.verdict is None:
            try:
                given = [name for argument in record.dag.nodes[claim.node].arguments for name in needed(argument)]
                event = await self._decide(claim, await self.results.filled(record, given), Control(task.task))
            except (Invalid, PermanentError) as error:
                event = self._events(claim).failed(self.clock.now(), claim, task.task, str(error))
            if event is None:
                return await self._sleep(claim, (await self._read(claim)))
            suspect = not await self._record(claim, event, task.task)
            record = await self._read(claim)
        return await self._follow(claim, record, suspect)

    async def _decide(self, claim: Claim, record: RunRecord, control: Control) -> Event[bytes] | None:
        """The event that the node ends by; None while it waits. Raises Invalid."""
        given = [resolve(a, lambda name: returned(record.node(name))) for a in record.dag.nodes[claim.node].arguments]
        if control is Control.MAP:
            count = count_of(len(record.dag.nodes), given[0], self.task_limit)
            return self._events(claim).expanded(self.clock.now(), claim, count)
        if control is Control.SPLIT:
            return self._split(claim, record, given[0])
        if control is Control.WHEN:
            return self._events(claim).branched(self.clock.now(), claim, taken(given))
        return await self._wait(claim, record, control, given)

    def _split(self, claim: Claim, record: RunRecord, items: Any) -> Event[bytes]:
        """Into how many parts a list is divided. Raises Invalid."""
        nodes, task = len(record.dag.nodes), record.dag.step_of(claim.node).task
        count_of(0, items, sys.maxsize)
        division = self.splitting.divide(task, len(items), self.task_limit - nodes)
        if items and not division.parts:
            raise Invalid(f"it splits a list, and the run has {nodes} tasks, the limit; let each do more")
        why = {"items": division.items, "seconds_an_item": division.seconds}
        return self._events(claim).expanded(self.clock.now(), claim, division.parts, why)

    async def _wait(self, claim: Claim, record: RunRecord, control: Control, given: list[Any]) -> Event[bytes] | None:
        wait = record.node(claim.node).wait
        if wait is None:
            now = self._now(claim)
            opening = wait_of(control, given, due_of(control, given, now))
            if control is Control.EVENT:
                await self._search(claim, record, opening)
            event = self._events(claim).wait_opened(now, claim, opening)
            await self.patience(lambda: self.recorder.record(claim.run, event))
            record = await self._read(claim)
            wait = record.node(claim.node).wait
        elif control is Control.EVENT and outcome(wait, self._now(claim)) is None:
            # Who opened it may have lost the queue before, and with it that the node was to be found.
            await self._search(claim, record, wait)
            wait = (await self._read(claim)).node(claim.node).wait
        if wait is None:
            return None
        found = outcome(wait, self._now(claim))
        return None if found is None else self._events(claim).wait_ended(self.clock.now(), claim, wait, *found)

    async def _search(self, claim: Claim, record: RunRecord, wait: Wait) -> None:
        await self.patience(lambda: self.queue.listen(claim.run, claim.node, awaited_key(wait), claim.round))
        if record.node(claim.node).early is None:
            await self.patience(lambda: self.searching.search(record, claim.node, wait))

    async def _sleep(self, claim: Claim, record: RunRecord) -> bool:
        """Put a node to sleep; one that has ended meanwhile is woken at once, by its due time."""
        wait = record.node(claim.node).wait
        if wait is None or record.node(claim.node).verdict is not None or outcome(wait, self._now(claim)) is not None:
            return await self._write(lambda: self.queue.release(claim))
        return await self._write(lambda: self.queue.wait(claim, to_ms(wait.due), awaited_key(wait), record.heard))

    async def _record(self, claim: Claim, event: Event[bytes], task: str) -> bool:
        """Record what a node comes to. False: another attempt was first."""
        try:
            self.recorder.check(event)
        except TooLarge as error:
            event = self._events(claim).failed(self.clock.now(), claim, task, f"what it returns is too large: {error}")
        found = event
        return await self.patience(lambda: self.recorder.record(claim.run, found))

    async def _follow(self, claim: Claim, record: RunRecord, suspect: bool) -> bool:
        """Have the queue do what history says of a node that has its verdict."""
        node = record.node(claim.node)
        if node.verdict is NodeStatus.FAILED:
            return await self._write(lambda: self.queue.fail(claim, node.error))
        if node.verdict is None:
            return await self._write(lambda: self.queue.release(claim))
        planned = {one.name: one for one in plan(record, self.clock.now()).nodes}
        step = record.dag.step_of(claim.node)
        grown = [planned[one.name] for one in step.nodes() if one.name != claim.node] if step.over else []
        skipped = [name for name in skipped_by(record, claim.node, node) if name in planned]
        result = output_of(node)
        return await self._write(
            lambda: self.queue.unfold(claim, result, skipped=skipped, grown=grown, suspect=suspect)
        )

    def _now(self, claim: Claim) -> datetime:
        """What is due by the clock of the queue, which has woken the node, is due, also where this machine's clock is behind."""
        return max(self.clock.now(), datetime.fromtimestamp(claim.at_ms / 1000, UTC))

    async def _read(self, claim: Claim) -> RunRecord:
        return await self.patience(lambda: self.recorder.read(claim.run))

    async def _write(self, write: Callable[[], Awaitable[bool]]) -> bool:
        return await self.patience(write)

    def _events(self, claim: Claim) -> RunEvents:
        return RunEvents(self.source, claim.run, self.worker)


def skipped_by(record: RunRecord, when: str, node: NodeRecord) -> list[str]:
    """The nodes that are not done because of how a condition was decided."""
    return [
        one.name
        for one in record.dag.nodes.values()
        if any(guard.when == when and guard.taken != node.result for guard in one.guards)
    ]


def count_of(nodes: int, items: Any, limit: int) -> int:
    """How many items a map has, of a run that has so many nodes without them. Raises Invalid for no list, or too long a one."""
    if not isinstance(items, list):
        raise Invalid(f"it maps over what is no list: {orjson.dumps(items).decode()[:80]}")
    if nodes + len(items) > limit:
        raise Invalid(
            f"it maps over {len(items)} items, and the run has {nodes} tasks; the limit is {limit}: let each do more"
        )
    return len(items)


def taken(given: list[Any]) -> bool:
    """Whether a condition holds: its value is true, or equal to the second argument where there is one."""
    return bool(given[0] == given[1]) if len(given) > 1 else bool(given[0])


def wait_of(control: Control, given: list[Any], due: Any) -> Wait:
    """The wait that a node begins. Raises Invalid for a value that no field can have."""
    if control is not Control.EVENT:
        return Wait(control, str(given[0]) if control is Control.SIGNAL else "", "", due)
    kind, field, value = given[:3]
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Invalid(f"an event is found by a text or a whole number, not {orjson.dumps(value).decode()[:80]}")
    return Wait(control, f"{kind} {field}", str(value), due)


def field_of(event: Mapping[str, Any], field: str) -> str | None:
    """What an event's data holds in a field by which it is found; None where that is no text and no whole number."""
    value = event.get(field)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
