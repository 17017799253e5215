# SPDX-License-Identifier: Apache-2.0
"""What a run says of itself, pure: the documents that people and the journal get of an order, its plan and its outcomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from nerv.errors import NervError
from nerv.protocols.side import Step
from nerv.sync.plan import Plan
from nerv.sync.tally import PROBLEMS_SHOWN, Tally

SHOWN = 500  # changes that a document holds
SHOWN_BYTES = 160 * 1024  # of rows in a document: it is one event of the journal, whose limit is 256 KiB


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asked for. The same run with other options is another order, and refused."""

    source: str
    run: str
    dry_run: bool = False
    confirm_deletes: bool = False


def running_document(order: Order) -> dict[str, Any]:
    """A run that is not over."""
    return {
        "run": order.run,
        "source": order.source,
        "dry_run": order.dry_run,
        "confirm_deletes": order.confirm_deletes,
        "status": "running",
    }


def planned_document(order: Order, category: str, plan: Plan, guard: float) -> dict[str, Any]:
    """What a dry run answers."""
    return running_document(order) | {
        "status": "planned",
        "needs_confirmation": plan.needs_confirmation(guard),
        "summary": plan.summary(),
        **_shown(category, plan.steps),
    }


def applied_document(order: Order, category: str, plan: Plan, tally: Tally, guard: float) -> dict[str, Any]:
    """What a run that has changed something answers, or that had nothing to change."""
    problems = [
        {
            "action": step.action.value,
            "stream": f"{category}-{step.key}",
            "outcome": verdict,
            "problem": type(error).__name__,
            "detail": error.detail,
        }
        for step, verdict, error in tally.problems
    ]
    found = {"status": tally.status, "outcomes": tally.counts(), "problems": problems}
    return planned_document(order, category, plan, guard) | found


def refused_document(order: Order, error: NervError) -> dict[str, Any]:
    """A run that was refused before it changed anything. The problem is kept, for whoever repeats the order."""
    problem = error.problem()
    problem["errors"] = problem.get("errors", [])[:PROBLEMS_SHOWN]
    return running_document(order) | {"status": "refused", "problem": problem}


def _shown(category: str, steps: Sequence[Step]) -> dict[str, Any]:
    """The first changes, as many as one event of the journal holds."""
    shown, size = [], 0
    for step in steps[:SHOWN]:
        stream = f"{category}-{step.key}"
        size += len(step.before or b"") + len(step.after or b"") + len(stream) + 80
        if size > SHOWN_BYTES:
            break
        shown.append(
            {"action": step.action.value, "stream": stream, "before": _row(step.before), "after": _row(step.after)}
        )
    return {"changes": shown, "truncated": len(shown) < len(steps)}


def _row(content: bytes | None) -> Any:
    return None if content is None else orjson.loads(content)
