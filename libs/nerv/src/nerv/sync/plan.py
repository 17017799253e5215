# SPDX-License-Identifier: Apache-2.0
"""What a sync would do, as data: every step with before and after, what is agreed, what is overruled, who has to be asked."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import orjson

from nerv.protocols.side import Action, Row, Step, Version
from nerv.sync.canonical import canonical
from nerv.sync.errors import DeletesUnconfirmed
from nerv.sync.strategies import Conflict
from nerv.sync.threeway import Loss
from nerv.sync.tree import digest

BATCH_STEPS = 500
BATCH_BYTES = 512 * 1024  # of rows; a request's body may have 1 MiB


@dataclass(frozen=True, slots=True)
class Agreement:
    """The row that holds on both sides (None: neither has the object) once the steps of a plan are done, and the versions that
    it was found by, left and right.
    """

    row: Row | None
    versions: tuple[Version, Version]


class Direction(StrEnum):
    """Which side is made equal to which."""

    TO_RIGHT = "to-right"
    TO_LEFT = "to-left"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a sync would do. `present` counts the objects of each side now, `unchanged` those that it leaves as they are.

    `agreed` is what holds on both sides once the steps are done, by key. `unwritable` are the keys of objects that differ only
    in what is computed.
    """

    direction: Direction
    steps: Sequence[Step] = ()
    present: Mapping[str, int] = field(default_factory=dict)
    unchanged: int = 0
    agreed: Mapping[str, Agreement] = field(default_factory=dict)
    losses: Sequence[Loss] = ()
    asked: Sequence[Conflict] = ()
    unwritable: Sequence[str] = ()

    @property
    def id(self) -> str:
        """Names the plan: the same steps over the same versions are the same plan."""
        parts = [[s.side, s.action, s.key, _text(s.before), _text(s.after), s.version] for s in self.steps]
        return digest(canonical({"direction": self.direction, "steps": parts})).hex()

    def without(self, done: Container[tuple[str, str]]) -> "Plan":
        """What is left of it after these steps, each told by its side and key."""
        return replace(self, steps=[step for step in self.steps if (step.side, step.key) not in done])

    def summary(self) -> dict[str, int]:
        """How many of each action, and what is left as it is."""
        counts = Counter(step.action for step in self.steps)
        return {action.value: counts[action] for action in Action} | {"unchanged": self.unchanged}

    def to_dict(self) -> dict[str, Any]:
        """The plan for people and programs, JSON-able."""
        return {
            "id": self.id,
            "direction": self.direction.value,
            "summary": self.summary(),
            "steps": [
                {
                    "side": s.side,
                    "action": s.action.value,
                    "key": s.key,
                    "before": _row(s.before),
                    "after": _row(s.after),
                }
                for s in self.steps
            ],
            "losses": [
                {"side": one.side, "key": one.key, "field": one.field, "strategy": one.strategy} for one in self.losses
            ],
            "asked": [one.key for one in self.asked],
            "unwritable": list(self.unwritable),
        }

    def deletes(self, side: str) -> int:
        """How many objects it deletes on a side."""
        return sum(1 for step in self.steps if step.side == side and step.action is Action.DELETE)

    def needs_confirmation(self, guard: float) -> bool:
        """Whether the share of deletes is beyond the guard on a side."""
        return any(self.deletes(side) > guard * count for side, count in self.present.items())


def check_deletes(plan: Plan, guard: float, confirmed: bool) -> None:
    """Raise DeletesUnconfirmed for more deletes than the guard allows, unless a person has confirmed them (rule 18)."""
    if confirmed:
        return
    for side, present in plan.present.items():
        deletes = plan.deletes(side)
        if deletes > guard * present:
            raise DeletesUnconfirmed(
                f"{deletes} of {present} would be deleted, more than {guard:.0%}; nothing was changed. "
                "Look at a dry run, and repeat with confirm_deletes if that is right",
                errors=[{"side": side, "delete": deletes, "present": present, "guard": guard}],
            )


def batches(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """The steps in batches of one side each that are within the limits of a request."""
    start, size = 0, 0
    for number, step in enumerate(steps):
        weight = len(step.after or step.before or b"")
        full = number - start >= BATCH_STEPS or size + weight > BATCH_BYTES
        if number > start and (full or step.side != steps[start].side):
            yield steps[start:number]
            start, size = number, 0
        size += weight
    if start < len(steps):
        yield steps[start:]


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode()


def _row(content: bytes | None) -> Any:
    return None if content is None else orjson.loads(content)
