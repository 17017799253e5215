# SPDX-License-Identifier: Apache-2.0
"""What a run says of itself, pure: the documents that people and the journal get of an order, its plan and its outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from nerv.errors import NervError
from nerv.protocols.side import Step
from nerv.sync.plan import Plan
from nerv.sync.tally import PROBLEMS_SHOWN, Tally

SHOWN = 500  # changes that a document holds
SHOWN_BYTES = 160 * 1024  # of rows in a document: it is one event of the journal, whose limit is 256 KiB
KEYS_SHOWN = 50  # of objects that are only named

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asked for. The same run with other options is another order, and refused.

    `plan` names a plan that is to be applied exactly; `where` narrows the run (`field=value`); `verify` reads both sides whole
    before. `by` is who ordered it, and `cause` why it came: a person, the schedule, or an event.
    """

    sync: str
    run: str
    dry_run: bool = False
    confirm_deletes: bool = False
    plan: str | None = None
    where: tuple[str, ...] = ()
    verify: bool = False
    by: str = field(default="", compare=False)
    cause: str = field(default="order", compare=False)

    def to_dict(self) -> Document:
        """As the journal has it."""
        return {
            "run": self.run,
            "sync": self.sync,
            "dry_run": self.dry_run,
            "confirm_deletes": self.confirm_deletes,
            "apply": self.plan,
            "where": list(self.where),
            "verify": self.verify,
            "by": self.by,
            "cause": self.cause,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Order":
        """The order of a document."""
        return cls(
            document["sync"],
            document["run"],
            document["dry_run"],
            document["confirm_deletes"],
            document["apply"],
            tuple(document["where"]),
            document["verify"],
            document["by"],
            document["cause"],
        )


def running_document(order: Order) -> Document:
    """A run that is not over."""
    return order.to_dict() | {"status": "running"}


def planned_document(order: Order, sides: Mapping[str, str], plan: Plan, guard: float) -> Document:
    """What a dry run answers."""
    return order.to_dict() | {
        "status": "planned",
        "plan": plan.id,
        "direction": plan.direction.value,
        "sides": dict(sides),
        "needs_confirmation": plan.needs_confirmation(guard),
        "summary": plan.summary(),
        "losses": len(plan.losses),
        "asked": [one.key for one in plan.asked[:KEYS_SHOWN]],
        **_shown(plan.steps),
    }


def applied_document(order: Order, sides: Mapping[str, str], plan: Plan, tally: Tally, guard: float) -> Document:
    """What a run that has changed something answers, or that had nothing to change."""
    return planned_document(order, sides, plan, guard) | tally.to_dict()


def refused_document(order: Order, error: NervError) -> Document:
    """A run that was refused before it changed anything. The problem is kept, for whoever repeats the order."""
    problem = error.problem()
    problem["errors"] = problem.get("errors", [])[:PROBLEMS_SHOWN]
    return order.to_dict() | {"status": "refused", "problem": problem}


def verified(missed: Mapping[str, Sequence[str]]) -> Document:
    """What a full verification has found: how many objects of each side no feed had told of, and the first of them."""
    return {
        "missed": {side: len(keys) for side, keys in missed.items()},
        "missed_keys": {side: list(keys[:KEYS_SHOWN]) for side, keys in missed.items()},
    }


def changes(steps: Sequence[Step]) -> list[Document]:
    """Steps with what they replace and what they write."""
    return [
        {"side": s.side, "action": s.action.value, "key": s.key, "before": _row(s.before), "after": _row(s.after)}
        for s in steps
    ]


def _shown(steps: Sequence[Step]) -> Document:
    """The first changes, as many as one event of the journal holds."""
    count, size = 0, 0
    for step in steps[:SHOWN]:
        size += len(step.before or b"") + len(step.after or b"") + len(step.key) + 80
        if size > SHOWN_BYTES:
            break
        count += 1
    return {"changes": changes(steps[:count]), "truncated": count < len(steps)}


def _row(content: bytes | None) -> Any:
    return None if content is None else orjson.loads(content)
