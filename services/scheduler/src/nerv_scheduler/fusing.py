# SPDX-License-Identifier: Apache-2.0
"""Which tiny tasks are done together, as one quantum; pure. What is known of a task's duration is measured while it runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nerv.api.workflow.v1 import workflow_pb2
from nerv.partition.tuning import MOST_FUSED, WORTH_WAKING, Kind
from nerv.protocols.queue import END, Claim
from nerv_scheduler.invoke import Callee


@dataclass(slots=True)
class Strand:
    """A claim, its task, and the tasks of its chain."""

    claim: Claim
    task: workflow_pb2.Task
    chain: list[workflow_pb2.Task] = field(default_factory=list)


class Fusing:
    """Decides how many nodes to take and which to do together, so that a quantum lasts about `target` seconds (0: no fusing)."""

    def __init__(self, callees: Mapping[str, Callee], target: float) -> None:
        self.target = target
        self._callees = callees
        self._kinds: dict[str, Kind] = {}
        self._any = Kind("", target, measured=False)

    def note(self, task: str, seconds: float) -> None:
        """A task has taken so long."""
        self._kind(task).note(max(seconds, 1e-6))
        self._any.note(max(seconds, 1e-6))

    def note_unfinished(self, task: str, seconds: float) -> None:
        """A task has taken so long, and is not done."""
        if seconds > self._kind(task).mean:
            self.note(task, seconds)

    def known(self, task: str) -> float | None:
        """How long a task takes; None as long as none was measured."""
        found = self._kinds.get(task)
        return found.mean if found is not None and found.measured else None

    def wanted(self, slots: int) -> int:
        """How many nodes to take for so many free slots: as many as will last for about a target in each."""
        return min(MOST_FUSED, slots * self._fits(self._any))

    def chain(self) -> int:
        """How many nodes of a chain to take with a node."""
        return self._fits(self._any) - 1 if self.target else 0

    def seconds(self, groups: Iterable[Sequence[Strand]], slots: int) -> float:
        """How long these will take in so many slots, as far as is known."""
        kinds = (self._kind(strand.task.task) for group in groups for strand in group)
        return sum(kind.mean for kind in kinds) / max(1, slots)

    def group(self, claims: Sequence[Claim], slots: int) -> list[list[Strand]]:
        """The claims in groups, each to be done one after the other in one slot: of one run, all on the loop or all in a thread.

        Ready work is spread over the slots, unless it is so little that it is not worth it.
        """
        found: list[list[Strand]] = []
        rooms: dict[tuple[str, bool], tuple[list[Strand], float]] = {}
        share = -(-len(claims) // max(1, slots))
        for claim in claims:
            strand = _strand(claim)
            key = self._key(strand)
            if key is None:
                strand.chain.clear()  # nor is it done with what waits for it
                found.append([strand])
                continue
            kind = self._kind(strand.task.task)
            group, room = rooms.get(key, ([], self.target))
            full = len(group) >= share and self.target - room >= WORTH_WAKING * self.target
            if not group or full or kind.mean > room or len(group) >= MOST_FUSED:
                group, room = [], self.target
                found.append(group)
            group.append(strand)
            rooms[key] = group, room - kind.mean * (1 + len(strand.chain))
        return found

    def _key(self, strand: Strand) -> tuple[str, bool] | None:
        """Nodes of one key may be done together; None: this one with no other."""
        claim, callee = strand.claim, self._callees.get(strand.task.task)
        if not self.target or claim.over or claim.node == END or callee is None or claim.losses or not fusable(callee):
            return None
        return (claim.run, callee.is_async) if self._fits(self._kind(strand.task.task)) > 1 else None

    def _fits(self, kind: Kind) -> int:
        """How many of a kind a quantum holds; one as long as nothing is known."""
        if not self.target or not kind.measured:
            return 1
        return max(1, min(MOST_FUSED, int(self.target / kind.mean)))

    def _kind(self, task: str) -> Kind:
        found = self._kinds.get(task)
        if found is None:
            found = self._kinds[task] = Kind(task, self.target, measured=False)
        return found


def fusable(callee: Callee) -> bool:
    """Whether a task may be done together with others: not in a process of its own, nor where it may have to wait for a place."""
    return callee.spec.pool == "auto" and callee.spec.concurrency is None


def _strand(claim: Claim) -> Strand:
    read = workflow_pb2.Task.FromString
    return Strand(claim, read(claim.message), [read(message) for _, message in claim.chain])
