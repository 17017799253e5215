# SPDX-License-Identifier: Apache-2.0
"""What every side of a sync promises. Inherit `SideContract`, or `WritableSideContract` for one that can be written.

Give a fixture `make`: it makes a side of things by key, as `{"a": 1}`; the row of each is what `rows` gives, seen as a `Thing`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

from nerv.errors import VersionConflict
from nerv.perspectives import Identifier, Ignored, Perspective, Tolerance, computed
from nerv.protocols.side import Action, Entity, Side, Step, Written
from nerv.protocols.source import Complete
from nerv.sync.canonical import canonical
from nerv.sync.plan import Direction
from nerv.sync.sides import MappingSide
from nerv.sync.synchronizer import DiffSynchronizer

Make = Callable[[Mapping[str, int]], Awaitable[Side]]

VALUES = {f"k__{n}": n for n in range(2500)}


class Thing(Perspective):
    """What the rows are; it says how they are compared, too. A system need not hold what is computed."""

    key: Annotated[str, Identifier()]
    value: int
    weight: Annotated[float, Tolerance(0.5)]
    note: Annotated[str, Ignored()] = ""

    @computed
    def double(self) -> int:
        """Twice the value."""
        return 2 * self.value


async def loaded(side: Side) -> tuple[dict[str, Entity], Complete | None]:
    """All that a load gives, and its mark."""
    found: dict[str, Entity] = {}
    mark: Complete | None = None
    async for batch in side.load():
        assert mark is None, "nothing comes after the mark"
        if isinstance(batch, Complete):
            mark = batch
            continue
        for entity in batch:
            assert entity.key not in found
            found[entity.key] = entity
    return found, mark


def value_of(entity: Entity) -> Any:
    """The value of a row; None where there is none."""
    return None if entity.row is None else entity.row["value"]


class SideContract:
    """What holds of every side."""

    async def test_a_load_gives_every_object_once_and_then_the_mark(self, make: Make) -> None:
        """More than one batch of them; the mark counts them."""
        found, mark = await loaded(await make(VALUES))
        assert {key: value_of(entity) for key, entity in found.items()} == VALUES
        assert mark is not None
        assert mark.rows == len(VALUES)

    async def test_objects_are_fetched_by_key(self, make: Make) -> None:
        """In the order of the keys, after a load as it had them; one that is not there has no row."""
        side = await make({"a": 1, "b": 2, "c": 3})
        await loaded(side)
        for _ in range(2):
            found = await side.fetch(["c", "x", "a"])
            assert [entity.key for entity in found] == ["c", "x", "a"]
            assert [value_of(entity) for entity in found] == [3, None, 1]

    async def test_a_position_of_now_has_nothing_behind_it(self, make: Make) -> None:
        """A side with a feed tells where it stands; nothing has changed since then. One without a feed says so."""
        side = await make({"a": 1})
        start = await side.changes(None)
        if start is None:
            return
        assert not start.keys
        again = await side.changes(start.position)
        assert again is not None
        assert (list(again.keys), again.position) == ([], start.position)

    async def test_its_perspective_says_what_differs(self, make: Make) -> None:
        """Neither a difference within a tolerance nor what is ignored; of what is computed it is told, and nothing written."""
        side = await make({"a": 1, "b": 2, "c": 3, "d": 4})
        a, b, c = rows({"a": 1, "b": 9, "c": 3})
        other = MappingSide.of("other", ["key"], [{**a, "weight": 1.4, "note": "else"}, b, {**c, "double": 0}])
        sync = DiffSynchronizer("things", side, other, Thing.diff_schema())
        plan = await sync.plan()
        assert [(step.key, step.action) for step in plan.steps] == [("b", "update"), ("d", "create")]
        assert plan.unwritable == ["c"]
        assert (await sync.apply(plan)).status == "done"
        assert (other["a"]["weight"], other["a"]["note"]) == (1.4, "else")
        assert (other["b"]["value"], other["d"]["value"], other["d"]["weight"]) == (2, 4, 4.0)

    async def test_it_describes_itself(self, make: Make) -> None:
        """By its name."""
        side = await make({"a": 1})
        assert side.describe().name == side.name


class WritableSideContract(SideContract):
    """What holds of a side that can be written, besides."""

    async def test_objects_are_created_updated_and_deleted(self, make: Make) -> None:
        """Each at the version that was fetched; then they are so."""
        side = await make({"a": 1, "b": 2})
        a, b, c = await side.fetch(["a", "b", "c"])
        steps = [step(Action.UPDATE, a, 10), step(Action.DELETE, b, None), step(Action.CREATE, c, 30)]
        outcomes = await side.write(steps)
        assert all(isinstance(outcome, Written) for outcome in outcomes)
        assert [value_of(entity) for entity in await side.fetch(["a", "b", "c"])] == [10, None, 30]
        found, _ = await loaded(side)
        assert {key: value_of(entity) for key, entity in found.items()} == {"a": 10, "c": 30}

    async def test_what_changed_since_it_was_seen_is_not_written(self, make: Make) -> None:
        """Its step is refused as a version conflict, alone; the others are done."""
        side = await make({"a": 1, "b": 2})
        old = await side.fetch(["a", "b", "c"])
        await side.write([step(Action.UPDATE, old[0], 5), step(Action.CREATE, old[2], 6)])
        late = [step(Action.UPDATE, old[0], 7), step(Action.UPDATE, old[1], 8), step(Action.CREATE, old[2], 9)]
        outcomes = await side.write(late)
        assert [isinstance(outcome, VersionConflict) for outcome in outcomes] == [True, False, True]
        assert [value_of(entity) for entity in await side.fetch(["a", "b", "c"])] == [5, 8, 6]

    async def test_a_deleted_object_can_be_created_again(self, make: Make) -> None:
        """At the version of its deletion. Where that is remembered, it is not that of an object that never was."""
        side = await make({"a": 1, "b": 2})
        first = (await side.fetch(["a"]))[0]
        await side.write([step(Action.DELETE, first, None)])
        gone, never = await side.fetch(["a", "never"])
        assert gone.row is None
        if gone.version != never.version:
            late = Entity("a", None, never.version)
            assert isinstance((await side.write([step(Action.CREATE, late, 2)]))[0], VersionConflict)
        assert isinstance((await side.write([step(Action.CREATE, gone, 3)]))[0], Written)
        assert value_of((await side.fetch(["a"]))[0]) == 3

    async def test_a_repeated_write_changes_nothing(self, make: Make) -> None:
        """Whatever it is answered: the object is as the first one left it."""
        side = await make({"a": 1, "b": 2})
        a, b, c = await side.fetch(["a", "b", "c"])
        steps = [step(Action.UPDATE, a, 10), step(Action.DELETE, b, None), step(Action.CREATE, c, 30)]
        await side.write(steps)
        once = await side.fetch(["a", "b", "c"])
        await side.write(steps)
        assert await side.fetch(["a", "b", "c"]) == once

    async def test_it_is_written_as_its_perspective_says(self, make: Make) -> None:
        """What is ignored stays as it is, and what is computed is left to whoever computes it."""
        side = await make({"a": 1, "b": 2, "d": 4})
        a, b, c = rows({"a": 1, "b": 9, "c": 3})
        other = MappingSide.of("other", ["key"], [a, {**b, "note": "else"}, c])
        sync = DiffSynchronizer("things", side, other, Thing.diff_schema())
        assert (await sync.sync(Direction.TO_LEFT, confirm_deletes=True)).status == "done"
        found = await side.fetch(["a", "b", "c", "d"])
        assert [value_of(entity) for entity in found] == [1, 9, 3, None]
        assert [entity.row["note"] for entity in found if entity.row] == ["", "", ""]
        assert not (await sync.plan(Direction.TO_LEFT)).steps

    async def test_its_feed_tells_what_was_written(self, make: Make) -> None:
        """Every key that changed after a position; a side without a feed says that it has none."""
        side = await make({"a": 1, "b": 2})
        start = await side.changes(None)
        a, c = await side.fetch(["a", "c"])
        await side.write([step(Action.UPDATE, a, 5), step(Action.CREATE, c, 6)])
        if start is None:
            assert await side.changes(None) is None
            return
        told = await side.changes(start.position)
        assert told is not None
        assert set(told.keys) == {"a", "c"}
        assert told.position != start.position


def step(action: Action, entity: Entity, value: int | None) -> Step:
    """What writes a value over an object as it was fetched."""
    after = None if value is None else canonical(rows({entity.key: value})[0])
    before = None if entity.row is None else canonical(entity.row)
    return Step("right", action, entity.key, before, after, entity.version, entity.stamp)


def rows(values: Mapping[str, int]) -> Sequence[dict[str, Any]]:
    """The rows of these values."""
    return [
        {"key": key, "value": value, "weight": float(value), "note": "", "double": 2 * value}
        for key, value in values.items()
    ]
