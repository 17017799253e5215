# SPDX-License-Identifier: Apache-2.0
"""Conflicts: who wins, what is journaled, who is asked."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerv.errors import IdConflict, Invalid, Misconfigured, NotFound, Unavailable
from nerv.history.memory import MemoryHistory
from nerv.perspectives import DiffSchema
from nerv.protocols.side import Entity
from nerv.state import MISSING
from nerv.sync.conflicts import ConflictJournal
from nerv.sync.schema import WholeRow
from nerv.sync.strategies import (
    UNDECIDED,
    AskPerson,
    Conflict,
    Custom,
    FieldMerge,
    LastWriter,
    SourcePriority,
    Strategy,
)
from nerv.sync.threeway import Loss, Settled, settle
from nerv.types import Stamp

WHOLE = WholeRow("thing", ("k",))
VALUES = st.sampled_from([0, 1, 2, None])
ROWS = st.none() | st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
STRATEGIES: list[Strategy] = [
    SourcePriority("left"),
    SourcePriority("right"),
    LastWriter(),
    FieldMerge(otherwise=SourcePriority("right")),
    FieldMerge({"a": SourcePriority("left")}, LastWriter()),
]


def conflict(left: Any, right: Any, base: Any = MISSING, stamps: tuple[int, int] | None = None) -> Conflict:
    """A conflict about an object."""
    left_stamp, right_stamp = map(Stamp, stamps) if stamps else (None, None)
    return Conflict("k", None, base, left, right, left_stamp, right_stamp)


def settled(left: Any, right: Any, base: Any, strategy: Strategy) -> Settled | Conflict:
    """What comes of two rows; the right one was written later."""
    return settle(WHOLE, Entity("k", left, 1, Stamp(1)), Entity("k", right, 2, Stamp(2)), base, strategy)


@settings(deadline=None)
@given(ROWS, ROWS, st.sampled_from(STRATEGIES))
def test_who_alone_has_changed_wins(row: Any, base: Any, strategy: Strategy) -> None:
    """Under any strategy, on either side, a deletion too; nothing is lost by that."""
    assert settled(row, base, base, strategy) == Settled(row)
    assert settled(base, row, base, strategy) == Settled(row)


@settings(deadline=None)
@given(ROWS, ROWS, ROWS, st.sampled_from(STRATEGIES))
def test_what_does_not_prevail_is_lost_and_said_so(left: Any, right: Any, base: Any, strategy: Strategy) -> None:
    """Of every field that a side changed, its value holds now, or a loss names it; and no loss names what holds."""
    found = settled(left, right, base, strategy)
    assert isinstance(found, Settled)
    for side, row in (("left", left), ("right", right)):
        losses = [loss for loss in found.losses if loss.side == side]
        if row == base or row == found.row:
            assert losses == []
        elif row is None or found.row is None:
            assert [(loss.field, loss.lost, loss.kept) for loss in losses] == [
                (None, MISSING if row is None else row, MISSING if found.row is None else found.row)
            ]
        else:
            names = {*row, *(base or {})}
            changed = {n for n in names if base is None or row.get(n, MISSING) != base.get(n, MISSING)}
            wanted = {n for n in changed if row.get(n, MISSING) != found.row.get(n, MISSING)}
            assert {loss.field for loss in losses} == wanted


def test_a_field_that_one_side_changed_is_taken_from_it() -> None:
    """A field merge keeps both edits where they do not touch; where they do, the strategy of the field decides."""
    base = {"a": 0, "b": 0, "c": 0}
    found = settled({"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 2, "d": 5}, base, FieldMerge({"b": SourcePriority("left")}))
    assert found == Settled({"a": 1, "b": 1, "d": 5}, "field-merge", (Loss("right", "k", "b", 2, 1, "field-merge", 2),))


def test_a_merge_is_undecided_when_a_field_is() -> None:
    """Nothing of the object is written then; an object that one side deleted is decided as a whole."""
    merge = FieldMerge({"a": SourcePriority("left")})
    assert merge.resolve(conflict({"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 0, "b": 0})) is UNDECIDED
    assert merge.resolve(conflict({"a": 1}, MISSING, {"a": 0})) is UNDECIDED
    assert FieldMerge(otherwise=SourcePriority("right")).resolve(conflict({"a": 1}, MISSING, {"a": 0})) is MISSING


def test_the_last_writer_wins_by_its_stamp() -> None:
    """Without stamps, or with equal ones, somebody else is asked."""
    assert LastWriter().resolve(conflict("l", "r", stamps=(2, 1))) == "l"
    assert LastWriter().resolve(conflict("l", "r", stamps=(1, 2))) == "r"
    for stamps in (None, (1, 1)):
        assert LastWriter().resolve(conflict("l", "r", stamps=stamps)) is UNDECIDED
        assert LastWriter(SourcePriority("right")).resolve(conflict("l", "r", stamps=stamps)) == "r"


def test_a_function_decides() -> None:
    """It sees the conflict, of an object or of a field, and is called by its name."""
    greatest = Custom(lambda found: max(found.left, found.right), "greatest")
    found = settled({"a": 1}, {"a": 2}, {"a": 0}, FieldMerge({"a": greatest}))
    assert isinstance(found, Settled)
    assert found.row == {"a": 2}
    assert greatest.name == "greatest"


def test_a_side_that_is_none_is_refused() -> None:
    """A priority is for left or right."""
    with pytest.raises(Misconfigured, match="left"):
        SourcePriority("source")


def test_values_within_a_tolerance_are_no_conflict() -> None:
    """A field that both changed by less than it is equal to the other's; only what differs is asked about."""
    schema = DiffSchema("thing", ("k",), ("a", "b"), tolerance={"a": 1.0})
    left, right = Entity("k", {"a": 5.0, "b": 1}), Entity("k", {"a": 5.5, "b": 2})
    found = settle(schema, left, right, {"a": 0.0, "b": 0}, FieldMerge({"b": SourcePriority("right")}))
    assert isinstance(found, Settled)
    assert (found.row, [loss.field for loss in found.losses]) == ({"a": 5.0, "b": 2}, ["b"])


def journal(history: MemoryHistory) -> ConflictJournal:
    """The journal of a sync."""
    return ConflictJournal(history, "things")


async def test_a_conflict_waits_until_a_person_decides() -> None:
    """Asked twice it waits once; the decision is for this very conflict, and for no other."""
    kept = journal(MemoryHistory())
    found = conflict({"a": 1}, MISSING, {"a": 0})
    await kept.ask([found])
    await kept.ask([found])
    [waiting] = await kept.waiting()
    assert (waiting.key, waiting.base, waiting.left, waiting.right) == ("k", {"a": 0}, {"a": 1}, None)
    assert await kept.decisions([found]) == {}
    await kept.decide("k", waiting.id, "right", by="ann")
    assert await kept.waiting() == []
    assert await kept.decisions([found]) == {"k": MISSING}
    assert await kept.decisions([conflict({"a": 2}, MISSING, {"a": 0})]) == {}
    await kept.ask([found])
    assert await kept.waiting() == []


@pytest.mark.parametrize(
    ("choice", "wanted"), [("left", {"a": 1}), ("right", {"a": 2}), ({"a": 9}, {"a": 9}), (None, MISSING)]
)
async def test_a_person_may_choose_a_side_a_row_or_none(choice: Any, wanted: Any) -> None:
    """The choice comes back as what shall hold."""
    kept = journal(MemoryHistory())
    found = conflict({"a": 1}, {"a": 2}, {"a": 0})
    await kept.ask([found])
    await kept.decide("k", (await kept.waiting())[0].id, choice, by="ann")
    assert await kept.decisions([found]) == {"k": wanted}


async def test_a_decision_about_what_does_not_wait_is_refused() -> None:
    """An unknown one, one that was decided, one that another has taken the place of, and a choice that is none."""
    kept = journal(MemoryHistory())
    with pytest.raises(NotFound, match="waits"):
        await kept.decide("k", "0", "left", by="ann")
    await kept.ask([conflict({"a": 1}, {"a": 2})])
    [first] = await kept.waiting()
    with pytest.raises(Invalid, match="choose"):
        await kept.decide("k", first.id, "both", by="ann")
    await kept.ask([conflict({"a": 1}, {"a": 3})])
    with pytest.raises(NotFound):
        await kept.decide("k", first.id, "left", by="ann")
    [second] = await kept.waiting()
    await kept.close("k")
    await kept.close("k")
    assert await kept.waiting() == []
    with pytest.raises(NotFound):
        await kept.decide("k", second.id, "left", by="ann")


async def test_a_conflict_that_comes_back_is_asked_again() -> None:
    """The same one, after it was closed."""
    kept = journal(MemoryHistory())
    for _ in range(3):
        await kept.ask([conflict(1, 2)])
        assert len(await kept.waiting()) == 1
        await kept.close("k")


async def test_losses_are_journaled_and_spared_by_attempt() -> None:
    """What one attempt did not overwrite after all says nothing about another one."""
    kept = journal(MemoryHistory())
    losses = [Loss("left", "k", "a", 1, 2, "last-writer", 7), Loss("left", "k", None, {"a": 1}, MISSING, "person", 8)]
    await kept.lose(losses, "one")
    await kept.lose(losses, "two")
    await kept.spare(losses[:1], "two")
    found = await kept.lost()
    assert [(one.field, one.lost, one.kept, one.strategy) for one in found] == [
        ("a", 1, 2, "last-writer"),
        (None, {"a": 1}, MISSING, "person"),
        (None, {"a": 1}, MISSING, "person"),
    ]
    assert kept.describe().counters == {"asked": 0, "decided": 0, "lost": 4, "spared": 1}


async def test_what_cannot_be_journaled_is_an_error() -> None:
    """An append that fails is raised; that an entry is there already is none."""

    class Failing(MemoryHistory):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        async def append(self, requests: Any) -> list[Any]:
            return [self.error for _ in requests]

    loss = Loss("left", "k", "a", 1, 2, "x")
    with pytest.raises(Unavailable):
        await ConflictJournal(Failing(Unavailable("away")), "things").lose([loss], "one")
    await ConflictJournal(Failing(IdConflict("there")), "things").lose([loss], "one")


@pytest.mark.parametrize("name", ["", "Things", "a-b", "a/b", "x" * 99])
def test_a_journal_has_a_name_that_streams_can_have(name: str) -> None:
    """No dash, for the entity begins at the first one."""
    with pytest.raises(Misconfigured, match="name"):
        ConflictJournal(MemoryHistory(), name)


def test_a_person_is_asked_by_default() -> None:
    """Nothing is overruled that nobody has said how."""
    assert AskPerson().resolve(conflict(1, 2)) is UNDECIDED
