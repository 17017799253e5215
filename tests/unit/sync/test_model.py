# SPDX-License-Identifier: Apache-2.0
"""The decisions of a run: the diff, steps, ids, guard, batches and what is answered."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from nerv.errors import IdConflict, Unavailable, UnknownOutcome, VersionConflict
from nerv.protocols import Appended
from nerv.protocols.source import Row
from nerv.sync import DeletesUnconfirmed, LoadRefused
from nerv.sync.adapters import difference
from nerv.sync.canonical import canonical
from nerv.sync.change import Action, Change
from nerv.sync.current import Current, CurrentState
from nerv.types import Event
from nerv_sync.model import (
    BATCH_BYTES,
    SHOWN,
    Order,
    Plan,
    Tally,
    applied_document,
    batches,
    check_deletes,
    event_id,
    make_plan,
    planned_document,
    refused_document,
)

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
ORDER = Order("planes", "run-1")
DONE = Appended(1, 1, 0, 0, NOON)


def row(key: str, **columns: Any) -> Row:
    """A row of a source."""
    return Row(key, canonical({"tailnum": key, **columns}), "row")


def current(key: str, version: int = 1, **columns: Any) -> Current:
    """An entity as history has it."""
    return Current(version, NOON, canonical({"tailnum": key, **columns}))


def plan_of(count: int, *, deletes: int = 0, width: int = 10) -> Plan:
    """A plan of so many creates, and deletes, over ten entities."""
    changes = [Change(Action.CREATE, f"N{n}", None, canonical({"a": "x" * width})) for n in range(count)]
    changes += [Change(Action.DELETE, f"D{n}", b"{}", None) for n in range(deletes)]
    entities = {f"D{n}": Current(1, NOON, b"{}") for n in range(10)}
    return make_plan("planes", "plane", changes, entities, NOON)


def test_the_diff_has_what_differs_and_nothing_else() -> None:
    """Created, updated and deleted entities, in order of keys; whole rows before and after; equal ones are left out."""
    rows = {key: row(key, seats=n) for n, key in enumerate(("N1", "N2", "N4"))}
    entities = {"N1": current("N1", seats=0), "N2": current("N2", seats=9), "N3": current("N3", seats=3)}
    assert difference(rows, entities) == [
        Change(Action.UPDATE, "N2", entities["N2"].content, rows["N2"].content),
        Change(Action.DELETE, "N3", entities["N3"].content, None),
        Change(Action.CREATE, "N4", None, rows["N4"].content),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [({"a": 1}, {"a": "1"}), ({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1, "b": None}), ({}, {"a": 1})],
)
def test_types_and_new_columns_are_differences(before: dict[str, Any], after: dict[str, Any]) -> None:
    """What Python or diffsync would take for equal is told apart: a number from its text or from true, a column more."""
    [change] = difference({"N1": Row("N1", canonical(after), "")}, {"N1": Current(1, NOON, canonical(before))})
    assert change.action is Action.UPDATE


def test_keys_with_two_underscores_do_not_collide() -> None:
    """diffsync joins identifiers by `__`; a key is one identifier whatever it holds."""
    rows = {key: row(key) for key in ("a__b", "a", "b", "a__", "__b")}
    assert [c.key for c in difference(rows, {})] == sorted(rows)


def test_the_fold_follows_creation_update_and_removal() -> None:
    """Other types count as versions only; the latest time is kept; a row in other words is the same row."""
    state = CurrentState("plane")

    def add(version: int, kind: str, data: bytes, minutes: int) -> None:
        time = NOON + timedelta(minutes=minutes)
        state.add(Event(f"e{version}", "x", kind, time, data, subject="plane-N1-B", sequence=version))

    add(1, "plane.created.v1", b'{ "seats": 1, "a": 2 }', 5)
    add(2, "plane.painted.v1", b"{}", 0)
    assert state.entities == {"N1-B": Current(2, NOON + timedelta(minutes=5), b'{"a":2,"seats":1}')}
    add(3, "plane.removed.v1", b"{}", 9)
    assert state.entities["N1-B"].content is None
    add(4, "plane.created.v1", b"[1]", 9)
    assert state.entities["N1-B"] == Current(4, NOON + timedelta(minutes=9), b"null")


def test_a_step_appends_at_the_version_that_was_seen() -> None:
    """Create at 0, or after a removal at its version; update and delete at theirs; each with its type and data."""
    entities = {"N2": current("N2", version=4), "N3": current("N3", version=7), "N4": Current(2, NOON, None)}
    rows = {key: row(key, seats=1) for key in ("N1", "N2", "N4")}
    plan = make_plan("planes", "plane", difference(rows, entities), entities, NOON)
    found = [(s.request.stream, str(s.request.expected), s.request.events[0].type) for s in plan.steps]
    assert found == [
        ("plane-N1", "0", "plane.created.v1"),
        ("plane-N2", "4", "plane.updated.v1"),
        ("plane-N3", "7", "plane.removed.v1"),
        ("plane-N4", "2", "plane.created.v1"),
    ]
    assert orjson.loads(plan.steps[1].request.events[0].data) == {"tailnum": "N2", "seats": 1}
    assert orjson.loads(plan.steps[2].request.events[0].data) == {"key": "N3", "before": {"tailnum": "N3"}}
    assert plan.summary() == {"create": 2, "update": 1, "delete": 1, "unchanged": 0}


def test_a_plan_made_again_is_the_same() -> None:
    """Ids, times and data: so that its append is a duplicate and not a second change."""
    rows, entities = {"N1": row("N1", seats=2)}, {"N1": current("N1", seats=1)}
    first, second = (make_plan("planes", "plane", difference(rows, entities), entities, NOON) for _ in range(2))
    assert first == second


def test_a_change_is_never_older_than_what_history_has() -> None:
    """An old file that is put back is not folded before the newer one in a read as of an instant."""
    entities = {"N1": Current(1, NOON + timedelta(days=1), canonical({"tailnum": "N1", "seats": 1}))}
    [step] = make_plan("planes", "plane", difference({"N1": row("N1")}, entities), entities, NOON).steps
    assert step.request.events[0].time == NOON + timedelta(days=1)


def test_ids_tell_every_part_apart() -> None:
    """Another source, stream, version, type or content is another id, also where the parts join to the same text."""
    parts = ("planes", "plane-N1", 1, "plane.created.v1", b"{}")
    others = [
        ("plane", "splane-N1", 1, "plane.created.v1", b"{}"),
        ("planes", "plane-N11", 1, "plane.created.v1", b"{}"),
        ("planes", "plane-N1", 11, "plane.created.v1", b"{}"),
        ("planes", "plane-N1", 1, "plane.updated.v1", b"{}"),
        ("planes", "plane-N1", 1, "plane.created.v1", b'{"a":1}'),
    ]
    assert len({event_id(*p) for p in (parts, *others)}) == 6
    assert event_id(*parts) == event_id(*parts)


@pytest.mark.parametrize(("deletes", "refused"), [(0, False), (2, False), (3, True), (10, True)])
def test_the_guard_wants_more_than_a_fifth_of_deletes_confirmed(deletes: int, refused: bool) -> None:
    """Exactly 20 % pass; beyond it a confirmation is asked for, and suffices."""
    plan = plan_of(5, deletes=deletes)
    check_deletes(plan, 0.2, confirmed=True)
    if not refused:
        check_deletes(plan, 0.2, confirmed=False)
        return
    with pytest.raises(DeletesUnconfirmed, match=f"{deletes} of 10"):
        check_deletes(plan, 0.2, confirmed=False)


@pytest.mark.parametrize(("count", "width"), [(0, 10), (1, 10), (1300, 10), (40, 100_000), (3, BATCH_BYTES * 2)])
def test_batches_hold_every_step_once_within_the_limits(count: int, width: int) -> None:
    """In order, at most 500 events and half a MiB a message, unless one event alone is bigger."""
    steps = plan_of(count, width=width).steps
    found = list(batches(steps))
    assert [s for batch in found for s in batch] == list(steps)
    for batch in found:
        size = sum(len(s.request.events[0].data) for s in batch)
        assert len(batch) <= 500
        assert len(batch) == 1 or size <= BATCH_BYTES


def test_every_outcome_is_done_refused_or_unknown() -> None:
    """A version conflict is a conflict, a known id is done, what is not known is called so; the worst names the run."""
    steps = plan_of(4).steps
    tally = Tally()
    tally.add(steps[:2], [DONE, IdConflict("there, with another time")])
    assert (tally.status, tally.done) == ("done", 2)
    tally.add(steps[2:3], [VersionConflict("plane-N2 is at version 1, not 0")])
    assert tally.status == "conflicts"
    tally.add(steps[3:], [UnknownOutcome("no answer")])
    assert tally.status == "unknown"
    document = applied_document(ORDER, plan_of(4), tally, 0.2)
    assert document["outcomes"] == {"done": 2, "refused": 1, "unknown": 1, "untried": 0}
    assert [(p["stream"], p["outcome"], p["problem"]) for p in document["problems"]] == [
        ("plane-N2", "refused", "VersionConflict"),
        ("plane-N3", "unknown", "UnknownOutcome"),
    ]


def test_what_did_not_happen_is_no_outcome() -> None:
    """Unavailable is raised, after the others are counted: the run goes on later under its id."""
    tally = Tally()
    with pytest.raises(Unavailable):
        tally.add(plan_of(2).steps, [Unavailable("not now"), DONE])
    assert tally.done == 1


def test_a_document_is_bounded() -> None:
    """At most so many changes and bytes, and it says that there are more; a journal's event holds it."""
    for plan in (plan_of(SHOWN + 1), plan_of(100, width=20_000)):
        document = planned_document(ORDER, plan, 0.2)
        assert document["truncated"]
        assert 0 < len(document["changes"]) < len(plan.steps)
        assert len(orjson.dumps(document)) < 256 * 1024
    assert not planned_document(ORDER, plan_of(SHOWN), 0.2)["truncated"]


def test_a_refusal_is_kept_as_a_problem() -> None:
    """Bounded, with all that raising it again takes."""
    refused = LoadRefused("line 3: seats", errors=[{"place": str(n)} for n in range(999)])
    document = refused_document(ORDER, refused)
    assert (document["status"], document["problem"]["status"]) == ("refused", 422)
    assert len(document["problem"]["errors"]) == 50
