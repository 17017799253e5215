# SPDX-License-Identifier: Apache-2.0
"""The incremental diff equals diffsync's own full diff: over random edits, after cut feeds, with tolerances, in any records."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
import structlog
from diffsync import Adapter, DiffSyncModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerv.perspectives import DiffSchema
from nerv.protocols.records import Records
from nerv.protocols.side import Entity
from nerv.sync.records import MemoryRecords
from nerv.sync.records.rocks import RocksRecords
from nerv.sync.schema import Schema, WholeRow
from nerv.sync.sides import ChangeLog, MappingSide
from nerv.sync.synchronizer import DiffSynchronizer

KEYS = st.sampled_from(["a", "b", "a__b", "__", "b__a", "ü", "k1", "k2", "k3", "k4", "k5", "k6"])
SEATS = st.integers(0, 3)
MODELS = st.sampled_from(["", "A320", "a320", "1", "null"])
TAGS = st.lists(st.sampled_from(["x", "y"]), max_size=2)
MILES = st.sampled_from([0.0, 0.4, 0.5, 0.6, 1.0, 1.5, 2.0, 99.0])
ROWS = st.fixed_dictionaries(
    {"seats": st.none() | SEATS, "model": MODELS, "tags": TAGS, "miles": MILES, "note": MODELS}
)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(["left", "right", "both"]), KEYS, ROWS),
        st.tuples(st.just("remove"), st.sampled_from(["left", "right", "both"]), KEYS, st.none()),
        st.tuples(st.just("cut"), st.sampled_from(["left", "right", "both"]), st.none(), st.none()),
        st.tuples(st.just("apply"), st.none(), st.none(), st.none()),
    ),
    max_size=12,
)

SCHEMA = DiffSchema("plane", ("key",), ("seats", "model", "tags", "miles"), ("note",))
TOLERANT = DiffSchema("plane", ("key",), ("seats", "model", "tags", "miles"), ("note",), tolerance={"miles": 0.5})


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """diffsync, used by itself here, would print every object."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


class Plane(DiffSyncModel):
    """A plane as a user of diffsync writes it."""

    _modelname = "plane"
    _identifiers = ("key",)
    _attributes = ("seats", "model", "tags", "miles")

    key: str
    seats: int | None
    model: str
    tags: list[str]
    miles: float


class Planes(Adapter):
    """A side as a user of diffsync writes it."""

    plane = Plane
    top_level: ClassVar[list[str]] = ["plane"]


def full_diff(left: Mapping[str, Any], right: Mapping[str, Any], tolerance: float) -> dict[str, str]:
    """What diffsync alone says; an update that a tolerance allows is left out."""
    adapters = Planes(), Planes()
    for adapter, rows in zip(adapters, (left, right), strict=True):
        for row in rows.values():
            adapter.add(Plane(**row))
    found = {}
    for element in adapters[1].diff_from(adapters[0]).get_children():
        if element.action == "update":
            changed = element.get_attrs_diffs()
            apart = abs(changed["+"].get("miles", 0) - changed["-"].get("miles", 0))
            if set(changed["+"]) == {"miles"} and apart <= tolerance:
                continue
        if element.action is not None:
            found[element.keys["key"]] = element.action
    return found


class Both:
    """Two sides, and what is known of them without any of our means."""

    def __init__(self, schema: Schema, records: tuple[Records, Records] | None = None) -> None:
        self.feeds = {"left": ChangeLog(kept=5), "right": ChangeLog(kept=5)}
        self.sides = {name: MappingSide(name, feed=feed) for name, feed in self.feeds.items()}
        self.rows: dict[str, dict[str, Any]] = {"left": {}, "right": {}}
        self.sync = DiffSynchronizer("planes", self.sides["left"], self.sides["right"], schema, digests=records)

    async def edit(self, what: str, where: str | None, key: str | None, row: Any) -> None:
        """One edit."""
        for side in ("left", "right") if where == "both" else (where,) if where else ():
            if what == "put" and key is not None:
                self.rows[side][key] = {"key": key, **row}
                self.sides[side].put(key, self.rows[side][key])
            elif what == "remove" and key is not None:
                self.rows[side].pop(key, None)
                self.sides[side].remove(key)
            else:
                self.feeds[side].missed()
        if what == "apply" and self.rows["left"]:
            await self.sync.apply(await self.sync.plan(), confirm_deletes=True)
            right = self.sides["right"]
            self.rows["right"] = {
                key: dict(right[key]) for key in {*self.rows["left"], *self.rows["right"]} if key in right
            }

    async def planned(self) -> dict[str, str]:
        """What our plan says."""
        return {step.key: step.action.value for step in (await self.sync.plan()).steps}


async def check(schema: Schema, rounds: list[list[Any]], tolerance: float, records: Any = None) -> None:
    """After each round of edits both say the same."""
    both = Both(schema, records)
    for edits in rounds:
        for edit in edits:
            await both.edit(*edit)
        wanted = full_diff(both.rows["left"], both.rows["right"], tolerance)
        if not both.rows["left"] and "delete" in wanted.values():
            continue  # an empty side deletes nothing; diffsync would
        assert await both.planned() == wanted


ROUNDS = st.lists(EDITS, min_size=1, max_size=5)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROUNDS)
async def test_the_plan_is_the_full_diff(rounds: list[list[Any]]) -> None:
    """Whatever was put, removed, applied, and however often a feed was cut or fell behind."""
    await check(SCHEMA, rounds, 0.0)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROUNDS)
async def test_the_plan_is_the_full_diff_within_a_tolerance(rounds: list[list[Any]]) -> None:
    """A difference within it is none, though the digests differ, and one that grows beyond it is one again."""
    await check(TOLERANT, rounds, 0.5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROUNDS)
async def test_the_plan_is_the_full_diff_with_digests_on_disk(rounds: list[list[Any]]) -> None:
    """Kept by RocksDB."""
    with TemporaryDirectory() as folder:
        async with RocksRecords(Path(folder) / "l") as left, RocksRecords(Path(folder) / "r") as right:
            await check(SCHEMA, rounds, 0.0, (left, right))


def row(seats: Any = 1, **more: Any) -> dict[str, Any]:
    """A row."""
    return {"key": "N1", "seats": seats, "model": "A", "tags": [], "miles": 1.0, **more}


async def test_types_and_columns_are_told_apart() -> None:
    """What Python takes for equal is a difference: a number and its text, 1 and true and 1.0, null and nothing, a column more."""
    values = [1, "1", True, 1.0, None, "absent"]
    for schema in (SCHEMA, WholeRow("plane", ("key",))):
        for one in values:
            for other in values:
                sides = MappingSide("left"), MappingSide("right")
                for side, value in zip(sides, (one, other), strict=True):
                    given = row(value)
                    if value == "absent":
                        del given["seats"]
                    side.put("N1", given)
                steps = (await DiffSynchronizer("planes", *sides, schema).plan()).steps
                same = type(one) is type(other) and one == other
                assert len(steps) == (0 if same else 1), (one, other)


async def test_what_is_ignored_is_no_difference_and_stays_as_it_is() -> None:
    """An update leaves it, and what is no part of the perspective, as the target has it; a new object gets it."""
    left, right = MappingSide("left"), MappingSide("right")
    left.put("N1", row(1, note="left", extra=1))
    left.put("N2", {**row(1, note="new", extra=1), "key": "N2"})
    right.put("N1", row(2, note="right", local=True))
    sync = DiffSynchronizer("planes", left, right, SCHEMA)
    await sync.sync()
    assert right["N1"] == row(1, note="right", local=True)
    assert right["N2"] == {**row(1, note="new"), "key": "N2"}
    left.put("N1", row(1, note="changed again"))
    assert not (await sync.plan()).steps


async def test_what_is_computed_is_compared_and_never_written() -> None:
    """An object that differs in it alone is named and left; with another difference that one is written."""
    schema = DiffSchema("plane", ("key",), ("seats", "rows"), computed=("rows",))
    left, right = MappingSide("left"), MappingSide("right")
    left.put("N1", {"key": "N1", "seats": 6, "rows": 1})
    right.put("N1", {"key": "N1", "seats": 6, "rows": 2})
    sync = DiffSynchronizer("planes", left, right, schema)
    plan = await sync.plan()
    assert (plan.steps, plan.unwritable) == ([], ["N1"])
    left.put("N1", {"key": "N1", "seats": 12, "rows": 1})
    await sync.sync()
    assert right["N1"] == {"key": "N1", "seats": 12, "rows": 2}


async def test_only_what_changed_is_read_again() -> None:
    """Of 3,000 objects three are changed: three are compared, and nothing is loaded."""
    given_rows = [{**row(n), "key": f"N{n}"} for n in range(3000)]
    left, right = (MappingSide.of(name, ["key"], given_rows) for name in ("left", "right"))
    sync = DiffSynchronizer("planes", left, right, SCHEMA)
    assert not (await sync.plan()).steps
    before = sync.describe()
    for n in (1, 1000, 2999):
        left.put(f"N{n}", {**row(n), "key": f"N{n}", "model": "B"})
    assert [step.key for step in (await sync.plan()).steps] == ["N1", "N1000", "N2999"]
    after = sync.describe()
    assert after.counters["compared"] - before.counters["compared"] == 3
    loads = [[part.counters["loads"] for part in found.parts if part.kind == "Digests"] for found in (before, after)]
    assert loads == [[1, 1], [1, 1]]


async def test_what_is_alike_within_a_tolerance_is_not_compared_twice() -> None:
    """Until one of them changes, also when it comes back to what it was."""
    left, right = MappingSide("left"), MappingSide("right")
    left.put("N1", row(miles=1.0))
    right.put("N1", row(miles=1.4999))
    sync = DiffSynchronizer("planes", left, right, TOLERANT)
    counts = []
    for miles in (None, None, 1.9, 2.0, 1.4999):
        if miles is not None:
            right.put("N1", row(miles=miles))
        differs = bool((await sync.plan()).steps)
        assert differs is (miles in (1.9, 2.0))
        counts.append(sync.describe().counters["compared"])
    assert counts[1] == counts[0]


async def test_only_what_the_digests_were_made_of_is_remembered_as_alike() -> None:
    """An object comes within the tolerance between its digest and its look, and leaves it again: it differs again."""

    class Late(MappingSide):
        async def fetch(self, keys: Sequence[str]) -> list[Entity]:
            if self["N1"]["miles"] == 99.0 and not looked:
                looked.append(1)
                self.put("N1", row(miles=1.3))
            return await super().fetch(keys)

    looked: list[int] = []
    left, right = MappingSide("left"), Late("right")
    left.put("N1", row(miles=1.0))
    right.put("N1", row(miles=99.0))
    sync = DiffSynchronizer("planes", left, right, TOLERANT)
    assert (await sync.plan()).steps == []
    assert looked
    right.put("N1", row(miles=99.0))
    assert [step.key for step in (await sync.plan()).steps] == ["N1"]


async def test_a_verification_finds_what_no_feed_told() -> None:
    """A change that nobody noted is not seen by a plan, and named by a verification; then the plan has it."""
    left, right = MappingSide("left"), MappingSide("right")
    for side in (left, right):
        side.put("N1", row())
        side.put("N2", {**row(), "key": "N2"})
    sync = DiffSynchronizer("planes", left, right, SCHEMA)
    await sync.plan()
    assert await sync.verify() == {"left": [], "right": []}
    quiet = MappingSide("left")
    quiet.put("N1", row(99))
    left._entities["N1"] = quiet._entities["N1"]  # behind the back of the feed
    del right._entities["N2"]
    assert not (await sync.plan()).steps
    assert await sync.verify() == {"left": ["N1"], "right": ["N2"]}
    assert [(s.key, s.action) for s in (await sync.plan()).steps] == [("N1", "update"), ("N2", "create")]
    assert [part.health for part in sync.describe().parts if part.kind == "Digests"] == ["degraded", "degraded"]


async def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """diffsync's logger is not used, however structlog is set up, and structlog is left as it is."""
    before = structlog.get_config()
    structlog.reset_defaults()
    left, right = MappingSide("left"), MappingSide("right")
    left.put("N1", row())
    await DiffSynchronizer("planes", left, right, SCHEMA).sync()
    structlog.configure(**before)
    assert capfd.readouterr() == ("", "")


async def test_digests_outlive_a_restart_of_the_feed_only_if_it_is_the_same(tmp_path: Path) -> None:
    """Kept digests are taken up where the feed goes on; of another epoch, or compared another way, they are void."""
    left, right = MappingSide("left"), MappingSide("right")
    left.put("N1", row())
    right.put("N1", row())

    async def loads(schema: Schema) -> list[int]:
        async with RocksRecords(tmp_path / "l") as one, RocksRecords(tmp_path / "r") as other:
            sync = DiffSynchronizer("planes", left, right, schema, digests=(one, other))
            assert not (await sync.plan()).steps
            return [part.counters["loads"] for part in sync.describe().parts if part.kind == "Digests"]

    assert await loads(SCHEMA) == [1, 1]
    assert await loads(SCHEMA) == [0, 0]
    left._feed.missed()
    assert await loads(SCHEMA) == [1, 0]
    assert await loads(TOLERANT) == [1, 1]


async def test_two_processes_share_digests(tmp_path: Path) -> None:
    """Synchronizers over the same records plan by turns and together; each sees what differs."""
    left, right = MappingSide("left"), MappingSide("right")
    records: tuple[Records, Records] = (MemoryRecords(), MemoryRecords())
    syncs = [DiffSynchronizer("planes", left, right, SCHEMA, digests=records) for _ in range(2)]
    for n in range(200):
        left.put(f"N{n}", {**row(n), "key": f"N{n}"})
        plans = [await sync.plan() for sync in syncs]
        assert [len(plan.steps) for plan in plans] == [n + 1] * 2
    assert syncs[0].describe().parts[2].counters["loads"] + syncs[1].describe().parts[2].counters["loads"] == 1


async def test_a_tree_grows_with_its_side() -> None:
    """From nothing to thousands by the feed alone: no load, and the plan has every object."""
    left, right = MappingSide("left"), MappingSide("right")
    sync = DiffSynchronizer("planes", left, right, SCHEMA)
    await sync.plan()
    for n in range(6000):
        left.put(f"N{n}", {**row(n), "key": f"N{n}"})
    assert (await sync.plan()).summary()["create"] == 6000
    right.put("N5", {**row(6), "key": "N5"})
    assert (await sync.plan()).summary() == {"create": 5999, "update": 1, "delete": 0, "unchanged": 0}
    assert [part.counters["loads"] for part in sync.describe().parts if part.kind == "Digests"] == [1, 1]
