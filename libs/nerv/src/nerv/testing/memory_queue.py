# SPDX-License-Identifier: Apache-2.0
"""The queue port in memory."""

import asyncio
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nerv.api.workflow.v1 import workflow_pb2
from nerv.protocols.queue import (
    DEADLINE,
    END,
    ORDER,
    START,
    Admission,
    Claim,
    Depth,
    Done,
    NodeState,
    NodeStatus,
    Orphan,
    Plan,
    PlannedNode,
    Priority,
    RunState,
    RunStatus,
    Taken,
    Waiter,
    parents,
)

TICK_SECONDS = 0.005
_SETTLED = (NodeStatus.COMPLETED, NodeStatus.SKIPPED)
_OVER = (*_SETTLED, NodeStatus.FAILED, NodeStatus.CANCELLED)
_LATER = (NodeStatus.RETRYING, NodeStatus.SLEEPING, NodeStatus.LIMITED)


@dataclass
class _Node:
    plan: PlannedNode
    status: NodeStatus
    waits: int
    attempt: int
    failures: int
    losses: int = 0
    entry: str = ""
    result: bytes = b""
    error: str = ""
    began: int = 0
    ended: int = 0
    worker: str = ""
    nonce: str = ""
    limit: tuple[str, int] | None = None


@dataclass
class _Run:
    plan: Plan
    epoch: str
    status: RunStatus
    nodes: dict[str, _Node]
    orders: int
    paused: bool
    active: int = 0
    ended: int = 0
    result: bytes = b""
    error: str = ""


@dataclass
class _Entry:
    run: str
    node: str
    priority: Priority = Priority.NORMAL
    leased_until: float = field(default=0.0)
    added: float = 0.0


class MemoryQueue:
    """`nerv.protocols.queue.Queue` over dictionaries. `now` tells its time in seconds: while that stands no lease ends."""

    def __init__(self, *, lease: float = 6.0, now: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._now = now
        self._runs: dict[str, _Run] = {}
        self._entries: dict[str, _Entry] = {}
        self._ready: dict[Priority, deque[str]] = {priority: deque() for priority in Priority}
        self._due: dict[tuple[str, str], float] = {}
        self._started: dict[str, dict[str, int]] = {}
        self._backlogs: dict[str, tuple[deque[Claim], float]] = {}
        self._parked: set[str] = set()
        self._awaited: set[tuple[str, Waiter]] = set()
        self._holders: dict[str, set[tuple[str, str]]] = {}
        self._waiters: dict[str, deque[tuple[str, str]]] = {}
        self._admitting = math.inf
        self._witnesses: set[str] = set()
        self._intact = False

    def wipe(self) -> None:
        """Lose everything, as a server does that has lost its disk."""
        parts = (self._runs, self._entries, self._due, self._started, self._backlogs, self._holders, self._waiters)
        for part in (*parts, self._parked, self._awaited, self._witnesses):
            part.clear()
        for ready in self._ready.values():
            ready.clear()
        self._admitting = math.inf
        self._intact = False

    async def take(
        self, worker: str, limit: int, seconds: float, *, chain: int = 0, unless: float | None = None
    ) -> Taken:
        """Claim nodes (see `TaskQueue.take`)."""
        deadline = time.monotonic() + seconds
        while True:
            intact = self._intact
            self._promote()
            found = self._expired(limit)
            for ready in self._ready.values():
                while ready and len(found) < limit:
                    found.append(ready.popleft())
            given = [one for entry in found if (one := self._claim(worker, entry, chain)) is not None]
            elsewhere = not given and unless is not None and bool(self._others(worker, unless))
            if given or elsewhere or time.monotonic() >= deadline:
                claims = tuple(one for one in given if isinstance(one, Claim))
                return Taken(claims, tuple(one for one in given if isinstance(one, Orphan)), intact, elsewhere)
            await asyncio.sleep(TICK_SECONDS)

    async def shelve(self, worker: str, claims: Sequence[Claim], seconds: float) -> None:
        """Tell of a backlog (see `SharedWork.shelve`)."""
        shelved, _ = self._backlogs.get(worker, (deque[Claim](), 0.0))
        self._backlogs[worker] = (deque([*shelved, *claims] if claims else ()), seconds)

    async def begin(self, worker: str, claims: Sequence[Claim], seconds: float) -> list[bool]:
        """Begin what was shelved (see `SharedWork.begin`)."""
        shelved, _ = self._backlogs.get(worker, (deque[Claim](), 0.0))
        found = [claim in shelved for claim in claims]
        for claim in [one for one, there in zip(claims, found, strict=True) if there]:
            shelved.remove(claim)
        self._backlogs[worker] = (shelved, seconds)
        return found

    def _others(self, worker: str, seconds: float) -> dict[str, tuple[deque[Claim], float]]:
        """The backlogs of others that will take at least so long."""
        return {name: found for name, found in self._backlogs.items() if name != worker and found[1] >= seconds}

    async def steal(self, worker: str, seconds: float, *, chain: int = 0) -> Taken:
        """Take half of the longest backlog (see `SharedWork.steal`)."""
        others = self._others(worker, seconds)
        if not others:
            return Taken()
        victim = max(others, key=lambda name: others[name][1])
        shelved, estimate = others[victim]
        self._backlogs[victim] = (shelved, estimate / 2)
        taken = [shelved.pop() for _ in range(-(-len(shelved) // 2))]
        for claim in [claim for claim in taken if (node := self._tokened(claim)) and node.worker == victim]:
            self._runs[claim.run].nodes[claim.node].status = NodeStatus.READY
        given = [self._claim(worker, claim.entry, chain) for claim in taken if self._tokened(claim) is not None]
        return Taken(tuple(claim for claim in given if isinstance(claim, Claim)))

    async def depth(self) -> Depth:
        """How much waits (see `SharedWork.depth`)."""
        now = self._now()
        ready = [self._entries[entry] for part in self._ready.values() for entry in part if entry in self._entries]
        oldest = min((entry.added for entry in ready), default=now)
        return Depth(len(ready), len(self._entries) - len(ready), len(self._due), now - oldest)

    async def enter(self, claim: Claim, key: str, most: int) -> Admission:
        """Ask for a place under a concurrency key (see `SharedWork.enter`)."""
        node, member = self._tokened(claim), (claim.run, claim.node)
        if node is None or node.status not in (NodeStatus.RUNNING, NodeStatus.LIMITED):
            return Admission.LOST
        if node.status is NodeStatus.LIMITED:
            return Admission.WAITS
        held = self._holders.setdefault(key, set())
        held -= {other for other in held if not self._holds(key, *other)}
        node.limit = key, most
        if self._now() >= self._admitting and (member in held or len(held) < most):
            held.add(member)
            return Admission.IN
        held.discard(member)
        self._entries.pop(claim.entry, None)
        node.status, node.attempt = NodeStatus.LIMITED, node.attempt - 1
        self._waiters.setdefault(key, deque()).append(member)
        if self._now() < self._admitting:
            self._due[member] = min(self._admitting, self._now() + TICK_SECONDS)
        return Admission.WAITS

    async def renew(self, worker: str, claims: Sequence[Claim]) -> list[Claim]:
        """Renew leases (see `TaskQueue.renew`)."""
        lost = []
        for claim in claims:
            if self._tokened(claim) is None:
                lost.append(claim)
                continue
            if claim.entry in self._entries:
                self._entries[claim.entry].leased_until = self._now() + self._lease
            if self._runs[claim.run].status is RunStatus.CANCELLING and not claim.over:
                lost.append(replace(claim, over=True))
        return lost

    async def complete(self, done: Sequence[Done]) -> list[bool]:
        """Complete many nodes (see `TaskQueue.complete`)."""
        return [self._complete(one) for one in done]

    def _complete(self, done: Done) -> bool:
        head = self._tokened(done.claim)
        if head is None or head.status is not NodeStatus.RUNNING:
            return head is not None and head.status is NodeStatus.COMPLETED
        nodes = self._runs[done.claim.run].nodes
        last = nodes[done.chain[-1].node if done.chain else done.claim.node]
        for link in done.chain:
            node = nodes[link.node]
            node.status, node.waits, node.attempt, node.result = NodeStatus.COMPLETED, 0, 1, link.result
            node.began, node.ended, node.worker = link.began_ms, link.ended_ms, head.worker
        head.status, head.result, head.error, head.ended = NodeStatus.COMPLETED, done.result, "", _now_ms()
        self._entries.pop(done.claim.entry, None)
        self._go_on(done.claim.run, last, suspect=done.suspect)
        return True

    async def unfold(
        self,
        claim: Claim,
        result: bytes,
        *,
        skipped: Sequence[str] = (),
        grown: Sequence[PlannedNode] = (),
        suspect: bool = False,
    ) -> bool:
        """Complete a node that decides what is done (see `WaitQueue.unfold`)."""
        node = self._tokened(claim)
        if node is None or node.status is not NodeStatus.RUNNING:
            return node is not None and node.status is NodeStatus.COMPLETED
        run = self._runs[claim.run]
        for child in node.plan.children:
            run.nodes[child].waits += len(grown)
        self._grow(run, claim.node, grown)
        for name in skipped:
            run.nodes[name].status, run.nodes[name].ended = NodeStatus.SKIPPED, _now_ms()
        if run.status is RunStatus.RUNNING:
            for one in grown:
                run.nodes[one.name].attempt = int(suspect)
                self._enqueue(claim.run, one.name)
                run.active += 1
            for name in skipped:
                self._release(claim.run, run.nodes[name].plan.children, suspect=suspect)
        return self._settle(claim, NodeStatus.COMPLETED, result, "", suspect=suspect)

    async def wait(self, claim: Claim, due_ms: int, key: str, orders: int) -> bool:
        """Put a node to sleep (see `WaitQueue.wait`)."""
        node = self._tokened(claim)
        if node is None or node.status is not NodeStatus.RUNNING:
            return node is not None and node.status in (NodeStatus.SLEEPING, NodeStatus.READY)
        run = self._runs[claim.run]
        self._entries.pop(claim.entry, None)
        if run.orders > orders or run.status is not RunStatus.RUNNING:
            self._enqueue(claim.run, claim.node)
            return True
        node.status = NodeStatus.SLEEPING
        self._put_to_sleep(claim.run, claim.node, due_ms, key)
        self._park(claim.run)
        return True

    async def fail(
        self,
        claim: Claim,
        error: str,
        *,
        retry_in: float | None = None,
        cancelled: bool = False,
        looked: bool = False,
    ) -> bool:
        """Fail an attempt or a node (see `TaskQueue.fail`)."""
        if retry_in is None:
            return self._settle(claim, NodeStatus.CANCELLED if cancelled else NodeStatus.FAILED, b"", error)
        node = self._tokened(claim)
        if node is None or node.status not in (NodeStatus.RUNNING, NodeStatus.RETRYING):
            return False
        if node.status is NodeStatus.RUNNING:
            node.status, node.error, node.failures = NodeStatus.RETRYING, error, node.failures + 1
            self._due[claim.run, claim.node] = self._now() + retry_in
            self._entries.pop(claim.entry, None)
            self._leave(claim.run, claim.node)
        return True

    async def release(self, claim: Claim) -> bool:
        """Give a node back (see `TaskQueue.release`)."""
        node = self._tokened(claim)
        if node is None:
            return False
        if node.status is NodeStatus.READY and node.entry != claim.entry:
            return True
        if node.status is not NodeStatus.RUNNING:
            return False
        self._entries.pop(claim.entry, None)
        self._leave(claim.run, claim.node)
        self._enqueue(claim.run, claim.node)
        return True

    async def close(self, claim: Claim, status: RunStatus, *, result: bytes = b"", error: str = "") -> bool:
        """End a run (see `TaskQueue.close`)."""
        node = self._tokened(claim)
        if node is None or node.status not in (NodeStatus.RUNNING, NodeStatus.COMPLETED):
            return False
        run = self._runs[claim.run]
        run.status, run.result, run.error, run.ended = status, result, error, _now_ms()
        self._due.pop((claim.run, DEADLINE), None)
        node.status = NodeStatus.COMPLETED
        self._entries.pop(claim.entry, None)
        return True

    async def drop(self, orphan: Orphan) -> None:
        """Forget an entry (see `TaskQueue.drop`)."""
        self._entries.pop(orphan.entry, None)

    async def start(self, plan: Plan, *, restore: bool = False) -> bool:
        """Put a run in (see `RunStore.start`)."""
        self._due.pop((plan.run, START), None)
        known = self._runs.get(plan.run)
        if plan.deadline_ms and (known is None or not known.status.ended or known.plan.round < plan.round):
            self._due[plan.run, DEADLINE] = self._at(plan.deadline_ms)
        if known is not None and not (restore and self._outdated(known, plan)):
            self._obey(known, plan)
            return False
        for name in list(known.nodes if known is not None else ()):
            self._leave(plan.run, name)
        gone = {(node.key, Waiter(plan.run, node.name, plan.round)) for node in plan.nodes if node.status in _OVER}
        self._awaited -= gone
        for ended in (node.name for node in plan.nodes if node.due_ms and node.status is not NodeStatus.SLEEPING):
            self._due.pop((plan.run, ended), None)
        parked = plan.run in self._parked
        self._parked.discard(plan.run)
        run = _Run(plan, uuid.uuid4().hex, plan.status, {}, plan.orders, plan.paused)
        if known is not None and known.orders > plan.orders:
            run.status, run.orders, run.paused = known.status, known.orders, known.paused
        self._runs[plan.run] = run
        for one in plan.nodes:
            node = _Node(one, one.status, one.waits, one.attempts, one.failures, result=one.result, error=one.error)
            node.began, node.ended = one.began_ms, one.ended_ms
            run.nodes[one.name] = node
        run.nodes[END] = _Node(PlannedNode(END, plan.end), NodeStatus.WAITING, 0, 0, 0)
        for name, node in run.nodes.items():
            run.active += node.status in (NodeStatus.READY, NodeStatus.SLEEPING)
            if node.status is NodeStatus.READY:
                self._enqueue(plan.run, name)
            elif node.status is NodeStatus.SLEEPING:
                self._put_to_sleep(plan.run, name, node.plan.due_ms, node.plan.key)
        if run.active == 0:
            self._enqueue(plan.run, END)
        self._started.setdefault(plan.workflow, {})[plan.run] = plan.started_ms
        self._park(plan.run)
        return not (parked and plan.run in self._parked)

    async def intend(self, run: str, seconds: float, *, order: bool = False) -> None:
        """Remember a start or an order (see `RunStore.intend`)."""
        if order:
            self._due[run, ORDER] = self._now() + seconds
        elif run not in self._runs:
            self._due[run, START] = self._now() + seconds

    async def status(self, run: str) -> RunStatus | None:
        """Where a run stands (see `RunStore.status`)."""
        found = self._runs.get(run)
        if found is None:
            return RunStatus.RUNNING if run in self._parked else None
        return found.status

    async def show(self, run: str, *, brief: bool = False) -> RunState | None:
        """A run (see `RunStore.show`)."""
        found = self._runs.get(run)
        if found is None:
            return None
        plan = found.plan
        after = parents({node.name: node.children for node in plan.nodes})
        shown = {} if brief else {name: node for name, node in found.nodes.items() if name != END}
        nodes = {name: _state(node, after.get(name, ())) for name, node in shown.items()}
        return RunState(
            run,
            plan.workflow,
            found.status,
            plan.started_ms,
            found.ended,
            nodes,
            found.result,
            found.error,
            found.paused,
        )

    async def results(self, run: str, nodes: Sequence[str]) -> dict[str, bytes]:
        """Results of nodes (see `RunStore.results`)."""
        known = self._runs[run].nodes if run in self._runs else {}
        return {n: known[n].result for n in nodes if n in known and known[n].status in _SETTLED}

    async def runs(self, workflow: str, limit: int) -> list[tuple[str, int]]:
        """The latest runs (see `RunStore.runs`)."""
        found = self._started.get(workflow, {})
        return sorted(found.items(), key=lambda item: (item[1], item[0]), reverse=True)[:limit]

    async def listen(self, run: str, node: str, key: str, turn: int) -> None:
        """Have a node found (see `WaitQueue.listen`)."""
        self._awaited.add((key, Waiter(run, node, turn)))

    async def deafen(self, run: str, node: str, key: str, turn: int) -> None:
        """Have it found no longer (see `WaitQueue.deafen`)."""
        self._awaited.discard((key, Waiter(run, node, turn)))

    async def awaiting(self, keys: Sequence[str]) -> dict[str, list[Waiter]] | None:
        """Who waits for these keys (see `WaitQueue.awaiting`)."""
        if not self._intact:
            return None
        found: dict[str, list[Waiter]] = {}
        for key, waiter in sorted(self._awaited):
            if key in keys:
                found.setdefault(key, []).append(waiter)
        return found

    async def known(self, runs: Sequence[str]) -> list[bool]:
        """Which runs are here (see `WaitQueue.known`)."""
        return [run in self._runs or run in self._parked for run in runs]

    async def witness(self, name: str) -> str:
        """Lost with everything else (see `WaitQueue.witness`)."""
        self._witnesses.add(name)
        return name

    async def mark_intact(self, started: Mapping[str, Mapping[str, int]], *, witness: str = "") -> None:
        """Nothing is missing (see `RunStore.mark_intact`)."""
        if witness and witness not in self._witnesses:
            return
        for workflow, runs in started.items():
            self._started.setdefault(workflow, {}).update(runs)
        if not self._intact:
            self._admitting = self._now() + self._lease
        self._intact = True

    def _promote(self) -> None:
        now = self._now()
        for run, node in [key for key, due in self._due.items() if due <= now]:
            del self._due[run, node]
            known = self._runs.get(run)
            if node in (START, ORDER, DEADLINE) or (known is None and run in self._parked):
                self._add_entry(run, node)
            elif known is not None and known.nodes[node].status in _LATER:
                self._wake(run, node)

    def _expired(self, limit: int) -> list[str]:
        now = self._now()
        return [e for e, entry in self._entries.items() if 0 < entry.leased_until <= now][:limit]

    def _claim(self, worker: str, entry: str, chain: int) -> Claim | Orphan | None:
        found = self._entries.get(entry)
        if found is None:
            return None
        found.leased_until = self._now() + self._lease
        run = self._runs.get(found.run)
        if run is None or found.node in (ORDER, DEADLINE):
            return Orphan(found.run, entry, found.node, _now_ms())
        node = run.nodes.get(found.node)
        if node is None or node.entry != entry or node.status not in (NodeStatus.READY, NodeStatus.RUNNING):
            del self._entries[entry]
            return None
        over = run.status is not RunStatus.RUNNING
        if over and node.attempt == 0 and found.node != END:
            del self._entries[entry]
            node.status, node.ended = NodeStatus.CANCELLED, _now_ms()
            self._leave(found.run, found.node)
            self._less_active(found.run, 1)
            return None
        node.losses += node.status is NodeStatus.RUNNING
        if run.paused and not over and found.node != END:
            del self._entries[entry]
            node.status = NodeStatus.HELD
            self._leave(found.run, found.node)
            return None
        node.status, node.attempt, node.began = NodeStatus.RUNNING, node.attempt + 1, _now_ms()
        node.worker, node.nonce = worker, uuid.uuid4().hex
        claim = Claim(found.run, found.node, entry, run.epoch, node.attempt, node.plan.message)
        links = () if over or found.node == END else self._chain(run, node, chain)
        claim = replace(claim, at_ms=_now_ms())
        return replace(
            claim,
            failures=node.failures,
            losses=node.losses,
            over=over,
            round=run.plan.round,
            chain=links,
            nonce=node.nonce,
        )

    def _chain(self, run: _Run, node: _Node, most: int) -> tuple[tuple[str, bytes], ...]:
        found: list[tuple[str, bytes]] = []
        while len(found) < most and len(node.plan.children) == 1:
            node = run.nodes[node.plan.children[0]]
            if node.waits != 1 or node.status is not NodeStatus.WAITING or node.attempt:
                break
            found.append((node.plan.name, node.plan.message))
        return tuple(found)

    def _tokened(self, claim: Claim) -> _Node | None:
        run = self._runs.get(claim.run)
        if run is None or claim.node not in run.nodes or run.nodes[claim.node].nonce != claim.nonce:
            return None
        return run.nodes[claim.node]

    def _settle(self, claim: Claim, verdict: NodeStatus, result: bytes, error: str, *, suspect: bool = False) -> bool:
        node = self._tokened(claim)
        if node is None:
            return False
        if node.status is verdict:
            return True
        if node.status is not NodeStatus.RUNNING:
            return False
        run = self._runs[claim.run]
        node.status, node.result, node.error, node.ended = verdict, result, error, _now_ms()
        if verdict is NodeStatus.FAILED and run.status is RunStatus.RUNNING:
            run.status = RunStatus.FAILING
            self._let_go(claim.run)
        self._entries.pop(claim.entry, None)
        self._go_on(claim.run, node if verdict is NodeStatus.COMPLETED else None, suspect=suspect)
        return True

    def _go_on(self, run: str, node: _Node | None, *, suspect: bool = False) -> None:
        """One node less is under way; those that waited for it, where it is given, are ready."""
        known = self._runs[run]
        if node is not None and known.status is RunStatus.RUNNING:
            self._release(run, node.plan.children, suspect=suspect)
        for name, one in known.nodes.items():
            if one.status in _OVER:
                self._leave(run, name)
        over = {name for name, one in known.nodes.items() if one.status in _OVER}
        turn = known.plan.round
        self._awaited = {(k, w) for k, w in self._awaited if (w.run, w.round) != (run, turn) or w.node not in over}
        self._less_active(run, 1)
        self._park(run)

    def _release(self, run: str, children: Sequence[str], *, suspect: bool = False) -> None:
        """Nodes wait for one less; those that wait for nothing more are ready."""
        for child in children:
            node = self._runs[run].nodes[child]
            node.waits -= 1
            if node.waits == 0 and node.status is NodeStatus.WAITING:
                node.attempt = max(node.attempt, int(suspect))
                self._enqueue(run, child)
                self._runs[run].active += 1

    def _grow(self, run: _Run, parent: str, grown: Sequence[PlannedNode]) -> None:
        """Put nodes behind the one that adds them."""
        nodes: dict[str, _Node] = {}
        for name, node in run.nodes.items():
            nodes[name] = node
            if name == parent:
                nodes |= {one.name: _Node(one, NodeStatus.WAITING, 0, 0, 0) for one in grown}
        run.nodes = nodes

    def _put_to_sleep(self, run: str, node: str, due_ms: int, key: str) -> None:
        if due_ms:
            self._due[run, node] = self._at(due_ms)
        if key:
            self._awaited.add((key, Waiter(run, node, self._runs[run].plan.round)))

    def _wake(self, run: str, node: str) -> None:
        self._due.pop((run, node), None)
        self._enqueue(run, node)

    def _holds(self, key: str, run: str, name: str) -> bool:
        """Whether a node is on its way under a concurrency key."""
        known = self._runs.get(run)
        node = known.nodes.get(name) if known is not None else None
        on_its_way = node is not None and node.status in (NodeStatus.READY, NodeStatus.RUNNING)
        return on_its_way and node is not None and node.limit is not None and node.limit[0] == key

    def _urgency(self, member: tuple[str, str]) -> int:
        """Less is more urgent; of a run that is gone it does not matter."""
        run = self._runs.get(member[0])
        return 0 if run is None else list(Priority).index(run.nodes[member[1]].plan.priority or run.plan.priority)

    def _leave(self, run: str, name: str) -> None:
        """A node needs its place no longer: who has waited the longest has it."""
        node = self._runs[run].nodes[name]
        if node.limit is None:
            return
        (key, most), node.limit = node.limit, None
        held, waiting = self._holders.setdefault(key, set()), self._waiters.setdefault(key, deque())
        held.discard((run, name))
        while (run, name) in waiting:
            waiting.remove((run, name))
        while waiting and len(held) < most:
            other, its = min(waiting, key=self._urgency)
            waiting.remove((other, its))
            known = self._runs.get(other)
            if known is not None and known.nodes[its].status is NodeStatus.LIMITED:
                held.add((other, its))
                self._wake(other, its)

    def _park(self, run: str) -> None:
        """Forget a run of which nothing is left but sleeping nodes."""
        known = self._runs[run]
        asleep = sum(node.status is NodeStatus.SLEEPING for node in known.nodes.values())
        if asleep and asleep == known.active and known.status is RunStatus.RUNNING and not known.paused:
            del self._runs[run]
            self._parked.add(run)

    def _less_active(self, run: str, count: int) -> None:
        self._runs[run].active -= count
        if self._runs[run].active == 0:
            self._enqueue(run, END)

    def _enqueue(self, run: str, node: str) -> None:
        known = self._runs[run].nodes[node]
        priority = known.plan.priority or self._runs[run].plan.priority
        known.status, known.entry = NodeStatus.READY, self._add_entry(run, node, priority)

    def _add_entry(self, run: str, node: str, priority: Priority = Priority.NORMAL) -> str:
        entry = uuid.uuid4().hex
        self._entries[entry] = _Entry(run, node, priority, added=self._now())
        self._ready[priority].append(entry)
        return entry

    def _outdated(self, known: _Run, plan: Plan) -> bool:
        older = known.plan.round < plan.round
        return older or (known.plan.round == plan.round and not self._sound(plan.run))

    def _obey(self, known: _Run, plan: Plan) -> None:
        if known.orders >= plan.orders or known.plan.round != plan.round or known.status.ended:
            return
        known.orders, known.paused = plan.orders, plan.paused
        if plan.status is RunStatus.CANCELLING:
            known.status = plan.status
        planned = {one.name: one.status for one in plan.nodes}
        cancelled = plan.status is RunStatus.CANCELLING
        for name, node in known.nodes.items():
            woken = planned.get(name, NodeStatus.SLEEPING) is not NodeStatus.SLEEPING
            retries = node.status in (NodeStatus.RETRYING, NodeStatus.LIMITED)
            sleeps = node.status is NodeStatus.SLEEPING
            if (retries and cancelled) or (sleeps and (cancelled or woken)):
                self._wake(plan.run, name)
        if not known.paused or known.status is not RunStatus.RUNNING:
            self._let_go(plan.run)

    def _let_go(self, run: str) -> None:
        for name, node in self._runs[run].nodes.items():
            failing = self._runs[run].status is RunStatus.FAILING
            given_up = (NodeStatus.SLEEPING, NodeStatus.LIMITED)
            if node.status is NodeStatus.HELD or (node.status in given_up and failing):
                self._wake(run, name)

    def _at(self, wall_ms: int) -> float:
        """The queue's time at an instant of the wall clock."""
        return self._now() + wall_ms / 1000 - time.time()

    def _sound(self, run: str) -> bool:
        for name, node in self._runs[run].nodes.items():
            if node.status in (NodeStatus.READY, NodeStatus.RUNNING) and node.entry not in self._entries:
                return False
            due = node.status is NodeStatus.RETRYING or (node.status is NodeStatus.SLEEPING and node.plan.due_ms)
            if due and (run, name) not in self._due:
                return False
        return True


def _state(node: _Node, after: tuple[str, ...]) -> NodeState:
    task = workflow_pb2.Task.FromString(node.plan.message).task
    return NodeState(
        node.status, task, node.attempt, node.began, node.ended, node.error, node.result, node.worker, after
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
