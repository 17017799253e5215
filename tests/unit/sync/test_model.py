# SPDX-License-Identifier: Apache-2.0
"""The documents of runs: what is shown of a plan and of what came of it."""

from dataclasses import replace

import orjson
import pytest

from nerv.errors import UnknownOutcome, VersionConflict
from nerv.protocols.side import Action, Step, Written
from nerv.sync import LoadRefused
from nerv.sync.canonical import canonical
from nerv.sync.plan import Direction, Plan
from nerv.sync.tally import Tally
from nerv_sync.model import SHOWN, Order, applied_document, planned_document, refused_document

ORDER = Order("planes", "run-1")


def plan_of(count: int, *, deletes: int = 0, width: int = 10) -> Plan:
    """A plan of so many creates, and deletes, over ten entities."""
    steps = [Step("right", Action.CREATE, f"N{n}", None, canonical({"a": "x" * width})) for n in range(count)]
    steps += [Step("right", Action.DELETE, f"D{n}", b"{}", None, 1) for n in range(deletes)]
    return Plan(Direction.TO_RIGHT, steps, {"left": count, "right": 10}, 10 - deletes)


SIDES = {"left": "registry", "right": "plane"}


def test_outcomes_name_their_objects() -> None:
    """What was refused or is unknown is told by side and key, with the worst as the status of the run."""
    plan, tally = plan_of(4), Tally()
    tally.add(plan.steps[:2], [Written(1), Written(1)])
    tally.add(plan.steps[2:3], [VersionConflict("plane-N2 is at version 1, not 0")])
    tally.add(plan.steps[3:], [UnknownOutcome("no answer")])
    document = applied_document(ORDER, SIDES, plan, tally, 0.2)
    assert document["status"] == "unknown"
    assert document["outcomes"] == {"done": 2, "refused": 1, "unknown": 1, "untried": 0}
    assert [(p["side"], p["key"], p["outcome"], p["problem"]) for p in document["problems"]] == [
        ("right", "N2", "refused", "VersionConflict"),
        ("right", "N3", "unknown", "UnknownOutcome"),
    ]


@pytest.mark.parametrize(("deletes", "asks"), [(0, False), (2, False), (3, True)])
def test_a_dry_run_says_whether_deletes_will_have_to_be_confirmed(deletes: int, asks: bool) -> None:
    """Beyond the guard of a fifth."""
    assert planned_document(ORDER, SIDES, plan_of(1, deletes=deletes), 0.2)["needs_confirmation"] is asks


def test_a_document_is_bounded() -> None:
    """At most so many changes and bytes, and it says that there are more; a journal's event holds it."""
    for plan in (plan_of(SHOWN + 1), plan_of(100, width=20_000)):
        document = planned_document(ORDER, SIDES, plan, 0.2)
        assert document["truncated"]
        assert 0 < len(document["changes"]) < len(plan.steps)
        assert len(orjson.dumps(document)) < 256 * 1024
    assert not planned_document(ORDER, SIDES, plan_of(SHOWN), 0.2)["truncated"]


def test_a_refusal_is_kept_as_a_problem() -> None:
    """Bounded, with all that raising it again takes."""
    refused = LoadRefused("line 3: seats", errors=[{"place": str(n)} for n in range(999)])
    document = refused_document(ORDER, refused)
    assert (document["status"], document["problem"]["status"]) == ("refused", 422)
    assert len(document["problem"]["errors"]) == 50


def test_an_order_is_told_again_from_its_document() -> None:
    """Whoever ordered it and why does not make it another one; any option does."""
    order = Order("planes", "r", dry_run=True, where=("a=b",), by="ann", cause="schedule")
    document = planned_document(order, SIDES, plan_of(1), 0.2)
    assert Order.of(orjson.loads(orjson.dumps(document))) == order == replace(order, by="bob", cause="order")
    for other in (
        replace(order, where=()),
        replace(order, verify=True),
        replace(order, plan="p"),
        replace(order, dry_run=False),
    ):
        assert other != order
