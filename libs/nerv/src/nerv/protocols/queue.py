# SPDX-License-Identifier: Apache-2.0
"""The queue port: runs of workflows, their ready tasks, and who works on them.

A node of a run goes `waiting -> ready -> running -> completed | failed | cancelled`, and `running -> retrying -> ready`.
One whose concurrency key has no place left goes `running -> limited -> ready`.
One that waits for a time, a signal or an event goes `running -> sleeping -> ready`; one of a branch that is not taken goes
`waiting -> skipped`. A run of which nothing is left but sleeping nodes is parked: all that is kept is what wakes it.
Of a paused run it goes `ready -> held`, and `held -> ready` when the run is resumed, fails or is cancelled.
When no node is ready, running or retrying any more, the node `:end` becomes ready; whoever takes it closes the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

END = ":end"
START = ":start"
ORDER = ":order"
DEADLINE = ":deadline"


class NodeStatus(StrEnum):
    """Where a node of a run stands."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    RETRYING = "retrying"
    HELD = "held"
    LIMITED = "limited"
    SLEEPING = "sleeping"
    SKIPPED = "skipped"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Priority(StrEnum):
    """What is ready with a higher one begins before what is ready with a lower one."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Admission(StrEnum):
    """What became of asking for a place under a concurrency key."""

    IN = "in"
    WAITS = "waits"  # the claim is over; the node becomes ready again when a place is free, and that was no attempt
    LOST = "lost"  # the token is old


class RunStatus(StrEnum):
    """Where a run stands. One that is failing or cancelling starts no further node and ends when the started have ended."""

    RUNNING = "running"
    FAILING = "failing"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more happens, unless it is restarted."""
        return self in (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node as it is put into the queue. Of a run that is restored it says how far the node had come.

    `message` is a nerv.api.workflow.v1.Task. `waits` counts the nodes it still waits for; `children` wait for it.
    `attempts` above 0 says that it may have been worked on: who takes it looks into history first. A sleeping one is woken
    at `due_ms` (wall time; 0: not by itself), or by whoever finds it by its `key`. Without a `priority` it has that of its run.
    """

    name: str
    message: bytes
    waits: int = 0
    children: tuple[str, ...] = ()
    status: NodeStatus = NodeStatus.WAITING
    result: bytes = b""
    error: str = ""
    attempts: int = 0
    failures: int = 0
    began_ms: int = 0
    ended_ms: int = 0
    due_ms: int = 0
    key: str = ""
    priority: Priority | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A run as it is put into the queue. `started_ms` is wall time, for display. `end` is the message of `:end`.

    `orders` counts what the run has been told from outside so far (orders, signals, events): of two plans the one with more
    of them knows more. `round` counts its restarts. At `deadline_ms` (wall time; 0: never) it comes up as an orphan.
    """

    run: str
    workflow: str
    started_ms: int
    nodes: tuple[PlannedNode, ...]
    end: bytes
    status: RunStatus = RunStatus.RUNNING
    paused: bool = False
    orders: int = 0
    round: int = 0
    deadline_ms: int = 0
    priority: Priority = Priority.NORMAL


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt at a node. `nonce` is the token that every write of the attempt must show: no other attempt has it, also
    when the queue has forgotten that this one was made. `epoch` changes when the queue may have forgotten something of the run.

    `losses` counts attempts that ended without a word. `over`: the run is failing or cancelling, so that nothing
    new is to be begun. `round` is the run's. `chain` are names and messages of nodes each of which waits for the one before it
    and for nothing else, the first for this one. `at_ms` is when it was made, by the clock of the queue.
    """

    run: str
    node: str
    entry: str
    epoch: str
    attempt: int
    message: bytes = field(repr=False, default=b"")
    failures: int = 0
    losses: int = 0
    over: bool = False
    round: int = 0
    chain: tuple[tuple[str, bytes], ...] = field(repr=False, default=())
    nonce: str = ""
    at_ms: int = 0

    @property
    def token(self) -> tuple[str, str]:
        """What tells this attempt from every other; an entry may be taken twice, by one worker too."""
        return (self.entry, self.nonce)


class Link(NamedTuple):
    """A node of a claim's chain that is done, and when (wall milliseconds)."""

    node: str
    result: bytes
    began_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Done:
    """A node that is done, and those of its claim's chain that were done after it, in order.

    `suspect`: its result was found in history. What becomes ready by it may be there, too: whoever takes that looks first.
    `looked`: what is told here was read in history after it was recorded. Without that it is taken only in its claim's epoch.
    """

    claim: Claim
    result: bytes
    chain: tuple[Link, ...] = ()
    suspect: bool = False
    looked: bool = False


@dataclass(frozen=True, slots=True)
class Orphan:
    """An entry of a run that the queue does not have, or may have of an earlier time: it was lost or is parked, or its start was
    never finished. `at_ms` as of a claim.
    """

    run: str
    entry: str
    node: str = ""
    at_ms: int = 0


class Waiter(NamedTuple):
    """A node that is to be found by a key, in a round of its run."""

    run: str
    node: str
    round: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What there was to take. Not `intact`: the queue may have lost runs, and history must be asked which.

    `elsewhere`: there was nothing, but in the backlog of another worker.
    """

    claims: tuple[Claim, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    intact: bool = True
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node, for people. Instants are wall milliseconds of the queue, of the last attempt; 0 is not yet, or not known.

    `after` are the nodes it waits for.
    """

    status: NodeStatus
    task: str
    attempt: int = 0
    began_ms: int = 0
    ended_ms: int = 0
    error: str = ""
    result: bytes = b""
    worker: str = ""
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunState:
    """A run, for people."""

    run: str
    workflow: str
    status: RunStatus
    started_ms: int
    ended_ms: int
    nodes: Mapping[str, NodeState]
    result: bytes = b""
    error: str = ""
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Depth:
    """How many nodes are ready and nobody's, how many somebody has, and how many are due later; the age of the oldest ready."""

    ready: int = 0
    taken: int = 0
    delayed: int = 0
    oldest_seconds: float = 0.0


def parents(children: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The nodes that each node waits for, by who waits for each."""
    found: dict[str, list[str]] = {}
    for parent, names in children.items():
        for name in names:
            found.setdefault(name, []).append(parent)
    return {name: tuple(those) for name, those in found.items()}


class TaskQueue(Protocol):
    """The workers' side. A node is taken by one worker at a time while it renews; a write with an old token does nothing.

    All may be lost at any time; then `take` says so until `mark_intact`. Every write may be repeated: the second one finds
    its work done. Errors: Unavailable (nothing happened), UnknownOutcome (repeat it).
    Implemented in memory by `nerv.testing`, on Redis streams by *scheduler*.
    """

    async def take(
        self, worker: str, limit: int, seconds: float, *, chain: int = 0, unless: float | None = None
    ) -> Taken:
        """At most `limit` nodes: those whose worker has not renewed for the lease, then ready ones, waiting up to `seconds`.

        Each with at most `chain` nodes of its chain. It does not wait while another worker has a backlog of at least `unless`
        seconds.
        """
        ...

    async def renew(self, worker: str, claims: Sequence[Claim]) -> list[Claim]:
        """Keep these for another lease; answers those that are no longer the worker's.

        Those whose run is being cancelled are kept, and answered too, with `over` set, unless the worker knows it already.
        """
        ...

    async def complete(self, done: Sequence[Done]) -> list[bool]:
        """Nodes are completed, and nodes that waited only for them become ready. Each stands for itself.

        False: its token is old, or it must look into history first; nothing happened.
        """
        ...

    async def fail(
        self,
        claim: Claim,
        error: str,
        *,
        retry_in: float | None = None,
        cancelled: bool = False,
        looked: bool = False,
    ) -> bool:
        """The node becomes ready again after `retry_in` seconds; without that it has failed, and its run fails.

        `cancelled`: it is given up because its run is failing or cancelled. `looked` as of `Done`. False: as above.
        """
        ...

    async def release(self, claim: Claim) -> bool:
        """The node becomes ready for others at once, without counting as lost or failed. False: as above."""
        ...

    async def close(self, claim: Claim, status: RunStatus, *, result: bytes = b"", error: str = "") -> bool:
        """The run ends with `status`; `claim` is one of `:end`. False: as above."""
        ...

    async def drop(self, orphan: Orphan) -> None:
        """Forget an entry of a run that was looked up. One that the run still names goes to whoever comes first."""
        ...


class SharedWork(Protocol):
    """What workers have in hand: done together, and moved between them. Loss, repeats and errors as with `TaskQueue`.

    Implemented in memory by `nerv.testing`, on Redis streams by *scheduler*.
    """

    async def shelve(self, worker: str, claims: Sequence[Claim], seconds: float) -> None:
        """These are added to the worker's backlog, which will take `seconds` now; others may take half of it.

        Without any the backlog is empty.
        """
        ...

    async def begin(self, worker: str, claims: Sequence[Claim], seconds: float) -> list[bool]:
        """Take these out of the worker's backlog, whose rest will take `seconds`. False: somebody else has taken it."""
        ...

    async def steal(self, worker: str, seconds: float, *, chain: int = 0) -> Taken:
        """Half of another worker's backlog, and of an odd number one more, as new attempts: the longest that will take at least
        `seconds`.
        """
        ...

    async def enter(self, claim: Claim, key: str, most: int) -> Admission:
        """Ask for one of the `most` places under a concurrency key, before the task is called. It is held until the attempt ends.

        Nobody is let in as long as somebody may work on whose place the queue has lost: for a lease.
        """
        ...

    async def depth(self) -> Depth:
        """How much there is to do."""
        ...


class RunStore(Protocol):
    """The door's side of the same queue. Errors as above."""

    async def start(self, plan: Plan, *, restore: bool = False) -> bool:
        """Put a run in. False: it is there already, and nothing happened.

        With `restore` one that is there but lacks entries of its nodes, or is of an earlier round, is put in anew, and all
        earlier tokens are void. Orders that the run there does not know yet are carried out either way.
        """
        ...

    async def intend(self, run: str, seconds: float, *, order: bool = False) -> None:
        """Unless the run is started within `seconds`, somebody takes an `Orphan` of it and looks into history.

        With `order` somebody does so anyway: an order is about to be recorded.
        """
        ...

    async def status(self, run: str) -> RunStatus | None:
        """Where a run stands; None when it is not here (any more)."""
        ...

    async def show(self, run: str, *, brief: bool = False) -> RunState | None:
        """All of a run, its nodes in the order of the plan; None when it is not here (any more). `brief`: without its nodes."""
        ...

    async def results(self, run: str, nodes: Sequence[str]) -> dict[str, bytes]:
        """What these nodes returned; those that are not completed are left out."""
        ...

    async def runs(self, workflow: str, limit: int) -> list[tuple[str, int]]:
        """The latest runs of a workflow that are remembered, newest first, and when they started (milliseconds)."""
        ...

    async def mark_intact(self, started: Mapping[str, Mapping[str, int]], *, witness: str = "") -> None:
        """Every run that history says is unfinished is here: until the next loss `take` says that all is intact.

        With a `witness` only if nothing was lost since it was called.
        `started` says of each workflow when its runs began (milliseconds), so that ended ones are listed too.
        """
        ...


class WaitQueue(Protocol):
    """Nodes of the mesh's own, and who waits for what. Errors as above."""

    async def unfold(
        self,
        claim: Claim,
        result: bytes,
        *,
        skipped: Sequence[str] = (),
        grown: Sequence[PlannedNode] = (),
        suspect: bool = False,
    ) -> bool:
        """As `complete`, of a node that decides what is done: nodes that are `skipped`, and nodes that are added.

        Whoever waits for the node waits for those that are added, too. `suspect` as of `Done`. False: the token is old,
        nothing happened.
        """
        ...

    async def wait(self, claim: Claim, due_ms: int, key: str, orders: int) -> bool:
        """The node sleeps until `due_ms` (0: for ever), or until `start` is told of a plan in which it is ready.

        One of a run that has been told more than `orders` is ready again at once. False: as above.
        """
        ...

    async def listen(self, run: str, node: str, key: str, turn: int) -> None:
        """Have `awaiting` find a node of a round of its run by its key from now on, before it sleeps."""
        ...

    async def deafen(self, run: str, node: str, key: str, turn: int) -> None:
        """Have it found no longer in this round."""
        ...

    async def awaiting(self, keys: Sequence[str]) -> dict[str, list[Waiter]] | None:
        """All nodes that are to be found by these keys; None while the queue may have lost some."""
        ...

    async def witness(self, name: str) -> str:
        """Something that is lost when anything is; `mark_intact` takes it. Each name has one."""
        ...

    async def known(self, runs: Sequence[str]) -> list[bool]:
        """Whether each run is here, parked or not."""
        ...


class Queue(TaskQueue, SharedWork, RunStore, WaitQueue, Protocol):
    """All sides."""
