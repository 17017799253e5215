# SPDX-License-Identifier: Apache-2.0
"""The order of steps: parents before children, children gone before parents, cycles named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv.protocols.side import Action, Row, Step
from nerv.sync import ParentsInCycle
from nerv.sync.canonical import canonical
from nerv.sync.ordering import Waves, waves
from nerv.sync.plan import Direction
from nerv.sync.schema import WholeRow
from nerv.sync.sides import MappingSide
from nerv.sync.synchronizer import DiffSynchronizer


def step(key: str, above: str | None, action: Action = Action.CREATE) -> Step:
    """A step for an object under another one."""
    row = canonical({"key": key, "above": above})
    before, after = (row, None) if action is Action.DELETE else (None, row)
    return Step("right", action, key, before, after)


def above(row: Row) -> str | None:
    """The parent that a row names."""
    found: str | None = row["above"]
    return found


def keys(found: Waves) -> list[list[str]]:
    """Of each wave."""
    return [[one.key for one in wave] for wave in (*found.making, *found.removing)]


def test_parents_are_made_before_and_removed_after_their_children() -> None:
    """Whatever order the steps come in; a parent that is not written is there already."""
    making = [step("leaf", "branch"), step("branch", "root"), step("root", "elsewhere"), step("other", None)]
    assert keys(waves(making, above)) == [["root", "other"], ["branch"], ["leaf"]]
    removing = [step(one.key, above(one_row(one)), Action.DELETE) for one in making]
    assert keys(waves(removing, above)) == [["leaf"], ["branch"], ["root", "other"]]


def one_row(of: Step) -> Any:
    """What a step writes."""
    names = {"leaf": "branch", "branch": "root", "root": "elsewhere", "other": None}
    return {"above": names[of.key]}


def test_without_parents_there_is_one_wave() -> None:
    """Or what is made and what is removed apart, where something comes in between; no wave without steps."""
    steps = [step("a", "b"), step("c", None, Action.DELETE), step("b", None)]
    assert keys(waves(steps, None)) == [["a", "c", "b"]]
    assert waves(steps, None, apart=True) == Waves([[steps[0], steps[2]]], [[steps[1]]])
    assert waves([], None) == Waves([], [])


def test_a_cycle_of_parents_is_named() -> None:
    """Its objects, in their order; an object beside it is not, nor is one below it."""
    with pytest.raises(ParentsInCycle, match="a → b → c → a") as caught:
        waves([step("below", "a"), step("a", "b"), step("b", "c"), step("c", "a"), step("beside", None)][1:], above)
    assert [one["key"] for one in caught.value.errors] == ["a", "b", "c", "a"]
    with pytest.raises(ParentsInCycle, match="own → own"):
        waves([step("own", "own")], above)


def test_ten_thousand_generations_are_no_recursion() -> None:
    """A line of parents may be as long as it likes."""
    found = waves([step(f"k{n}", f"k{n - 1}" if n else None) for n in reversed(range(10_000))], above)
    assert keys(found) == [[f"k{n}"] for n in range(10_000)]


@given(st.lists(st.integers(0, 30), max_size=30))
def test_every_step_is_in_one_wave_after_its_parent(parents: list[int]) -> None:
    """Over random forests."""
    steps = [step(str(n), str(parent) if parent < n else None) for n, parent in enumerate(parents)]
    found = waves(steps, above)
    place = {key: number for number, wave in enumerate(keys(found)) for key in wave}
    assert sorted(place) == sorted(one.key for one in steps)
    for n, parent in enumerate(parents):
        if parent < n:
            assert place[str(parent)] < place[str(n)]


async def test_a_cycle_changes_nothing_and_a_tree_is_applied_in_order() -> None:
    """Through the synchronizer: the cycle is refused before the first write; mended, parents come first."""
    rows = [{"key": "site", "above": "rack"}, {"key": "rack", "above": "site"}]
    left, right = MappingSide.of("left", ("key",), rows), MappingSide("right")
    sync = DiffSynchronizer("things", left, right, WholeRow("thing", ("key",)), parent=above)
    with pytest.raises(ParentsInCycle):
        await sync.sync()
    assert len(right) == 0
    left.put("site", {"key": "site", "above": None})
    tally = await sync.sync(Direction.TO_RIGHT)
    assert (tally.done, [one.key for one in await right.fetch(["rack", "site"]) if one.row]) == (2, ["rack", "site"])
