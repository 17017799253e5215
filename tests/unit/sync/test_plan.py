# SPDX-License-Identifier: Apache-2.0
"""Plans as data: the guard, batches, identity, and the tally of what became of their steps."""

import pytest

from nerv.errors import Invalid, Unavailable, UnknownOutcome, VersionConflict
from nerv.protocols.side import Action, Step, Written
from nerv.sync import DeletesUnconfirmed
from nerv.sync.canonical import canonical
from nerv.sync.plan import BATCH_BYTES, Direction, Plan, batches, check_deletes
from nerv.sync.tally import Tally


def steps_of(count: int, *, side: str = "right", width: int = 10) -> list[Step]:
    """So many creates."""
    return [Step(side, Action.CREATE, f"N{n}", None, canonical({"a": "x" * width})) for n in range(count)]


def deleting(deletes: int, side: str = "right") -> Plan:
    """A plan that deletes so many of ten."""
    steps = [Step(side, Action.DELETE, f"D{n}", b"{}", None, 1) for n in range(deletes)]
    return Plan(Direction.BOTH, steps, {"left": 10, "right": 10}, 10 - deletes)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("deletes", "refused"), [(0, False), (2, False), (3, True), (10, True)])
def test_the_guard_wants_more_than_a_fifth_of_deletes_confirmed(deletes: int, refused: bool, side: str) -> None:
    """On either side; exactly 20 % pass; beyond it a confirmation is asked for, and suffices."""
    plan = deleting(deletes, side)
    check_deletes(plan, 0.2, confirmed=True)
    assert plan.needs_confirmation(0.2) is refused
    if not refused:
        check_deletes(plan, 0.2, confirmed=False)
        return
    with pytest.raises(DeletesUnconfirmed, match=f"{deletes} of 10"):
        check_deletes(plan, 0.2, confirmed=False)


@pytest.mark.parametrize(("count", "width"), [(0, 10), (1, 10), (1300, 10), (40, 100_000), (3, BATCH_BYTES * 2)])
def test_batches_hold_every_step_once_within_the_limits(count: int, width: int) -> None:
    """In order, at most 500 steps and half a MiB a batch, unless one step alone is bigger."""
    steps = steps_of(count, width=width)
    found = list(batches(steps))
    assert [s for batch in found for s in batch] == steps
    for batch in found:
        assert len(batch) <= 500
        assert len(batch) == 1 or sum(len(s.after or b"") for s in batch) <= BATCH_BYTES


def test_a_batch_is_of_one_side() -> None:
    """Sides are written by themselves."""
    found = list(batches([*steps_of(3, side="left"), *steps_of(2)]))
    assert [[s.side for s in batch] for batch in found] == [["left"] * 3, ["right"] * 2]


def test_a_plan_is_named_by_what_it_does() -> None:
    """The same steps over the same versions are the same plan; another version, row or direction is another one."""
    plan = deleting(2)
    others = [
        deleting(1),
        deleting(2, "left"),
        Plan(Direction.TO_RIGHT, plan.steps),
        Plan(Direction.BOTH, [plan.steps[0], Step("right", Action.DELETE, "D1", b"{}", None, 2)]),
        Plan(Direction.BOTH, [plan.steps[0], Step("right", Action.DELETE, "D1", b'{"a":1}', None, 1)]),
    ]
    assert len({found.id for found in (plan, *others)}) == 6
    assert plan.id == deleting(2).id


def test_a_plan_is_data() -> None:
    """JSON-able, with rows before and after."""
    plan = Plan(Direction.TO_RIGHT, [Step("right", Action.UPDATE, "N1", b'{"a":1}', b'{"a":2}', 3)], {"right": 5}, 4)
    found = plan.to_dict()
    assert found["summary"] == {"create": 0, "update": 1, "delete": 0, "unchanged": 4}
    assert found["steps"] == [{"side": "right", "action": "update", "key": "N1", "before": {"a": 1}, "after": {"a": 2}}]


def test_every_outcome_is_done_refused_or_unknown() -> None:
    """A version conflict is refused and moved, another refusal is refused; the worst names the whole."""
    steps, tally = steps_of(4), Tally()
    tally.add(steps[:1], [Written(1)])
    assert tally.status == "done"
    tally.add(steps[1:3], [VersionConflict("N1 is at version 1, not 0"), Invalid("no")])
    assert (tally.status, tally.moved) == ("conflicts", ["N1"])
    tally.add(steps[3:], [UnknownOutcome("no answer")])
    assert tally.status == "unknown"
    assert tally.counts() == {"done": 1, "refused": 2, "unknown": 1, "untried": 0}
    assert [problem["key"] for problem in tally.to_dict()["problems"]] == ["N1", "N2", "N3"]


def test_what_did_not_happen_is_no_outcome() -> None:
    """Unavailable is raised, after the others are counted: the sync goes on later."""
    tally = Tally()
    with pytest.raises(Unavailable):
        tally.add(steps_of(2), [Unavailable("not now"), Written(1)])
    assert tally.done == 1


def test_what_moved_and_was_tried_again_counts_once() -> None:
    """A later tally takes the place of the refusals that it looked at again, and of no others."""
    steps, first, later = steps_of(3), Tally(), Tally()
    first.add(steps, [VersionConflict("moved"), Invalid("no"), Written(1)])
    later.add(steps[:1], [Written(2)])
    first.settle(later)
    assert first.counts() == {"done": 2, "refused": 1, "unknown": 0, "untried": 0}
    assert (first.moved, [step.key for step, _, _ in first.problems]) == ([], ["N1"])
