# SPDX-License-Identifier: Apache-2.0
"""The synchronizer: both sides come to hold the same, nothing is overwritten unseen, and nothing is deleted without proof."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerv.clock import HybridClock
from nerv.errors import NervError, Unavailable, UnknownOutcome
from nerv.history.memory import MemoryHistory
from nerv.protocols.records import Records
from nerv.protocols.side import Changes, Entity, Position, Side, Step, WriteOutcome
from nerv.protocols.source import Complete
from nerv.sync import DeletesUnconfirmed, LoadRefused
from nerv.sync.agreed import InHistory
from nerv.sync.conflicts import ConflictJournal, Lost
from nerv.sync.plan import Direction
from nerv.sync.records import MemoryRecords
from nerv.sync.schema import WholeRow
from nerv.sync.sides import HistorySide, MappingSide
from nerv.sync.strategies import AskPerson, FieldMerge, LastWriter, SourcePriority, Strategy
from nerv.sync.synchronizer import DiffSynchronizer
from nerv.testing.clock import ManualClock
from nerv.types import Description, utc_now

SCHEMA = WholeRow("thing", ("key",))
BOTH = Direction.BOTH


class Around:
    """A side that goes through another, and does something else where a test says so."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.name, self.writable = side.name, side.writable

    def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """As the other."""
        return self.side.load()

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """As the other."""
        return await self.side.fetch(keys)

    async def changes(self, after: Position | None) -> Changes | None:
        """As the other."""
        return await self.side.changes(after)

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """As the other."""
        return await self.side.write(steps)

    def describe(self) -> Description:
        """As the other."""
        return self.side.describe()


class Bench:
    """Two sides in memory, what both agreed on, and a journal; synchronizers come and go."""

    def __init__(self, strategy: Strategy | None = None, *, in_history: bool = False) -> None:
        self.left, self.right = MappingSide("left"), MappingSide("right")
        self.history, self.records = MemoryHistory(), MemoryRecords()
        self.in_history = in_history
        self.digests = MemoryRecords(), MemoryRecords()
        self.strategy = strategy
        self.journal = ConflictJournal(self.history, "things")

    @property
    def agreed(self) -> Records | InHistory:
        """Where a new process finds what both agreed on."""
        if not self.in_history:
            return self.records
        return InHistory(HistorySide(self.history, "agreed", writer="sync"), self.records)

    def sync(self, left: Side | None = None, right: Side | None = None, **more: Any) -> DiffSynchronizer:
        """A synchronizer over these sides, as a new process has it."""
        kept = {"digests": self.digests, "agreed": self.agreed, "journal": self.journal, "strategy": self.strategy}
        return DiffSynchronizer("things", left or self.left, right or self.right, SCHEMA, **{**kept, **more})

    def fill(self, count: int, *sides: MappingSide) -> None:
        """Put so many rows on sides."""
        for side in sides or (self.left, self.right):
            for n in range(count):
                side.put(f"k{n}", {"key": f"k{n}", "a": 0, "b": 0})

    def set(self, side: MappingSide, key: str, **values: Any) -> None:
        """Change some values of a row."""
        side.put(key, {"key": key, "a": 0, "b": 0, **(dict(side[key]) if key in side else {}), **values})


def rows(side: MappingSide, count: int = 12) -> dict[str, Any]:
    """What a side holds, by key."""
    return {f"k{n}": dict(side[f"k{n}"]) for n in range(count) if f"k{n}" in side}


async def test_one_side_follows_the_other() -> None:
    """Created, updated, deleted; then nothing differs, and in the other direction neither."""
    bench = Bench()
    bench.fill(10)
    bench.set(bench.left, "k1", a=1)
    bench.left.remove("k2")
    bench.fill(12, bench.left)
    bench.left.remove("k2")
    bench.set(bench.left, "k1", a=1)
    sync = bench.sync()
    plan = await sync.plan()
    assert plan.summary() == {"create": 2, "update": 1, "delete": 1, "unchanged": 8}
    assert rows(bench.right) != rows(bench.left)
    assert (await sync.apply(plan)).counts() == {"done": 4, "refused": 0, "unknown": 0, "untried": 0}
    assert rows(bench.right) == rows(bench.left)
    for direction in Direction:
        assert (await sync.plan(direction)).steps == []


async def test_the_left_side_follows_the_right_one() -> None:
    """As said."""
    bench = Bench()
    bench.fill(3, bench.right)
    assert (await bench.sync().sync(Direction.TO_LEFT)).done == 3
    assert rows(bench.left) == rows(bench.right)


async def test_edits_of_both_sides_meet() -> None:
    """Each side's creations, updates and deletions reach the other, in one plan; nothing is in conflict or lost."""
    bench = Bench()
    bench.fill(10)
    await bench.sync().sync(BOTH)
    bench.set(bench.left, "k1", a=1)
    bench.set(bench.right, "k2", b=2)
    bench.left.remove("k3")
    bench.right.remove("k4")
    bench.set(bench.left, "k10", a=10)
    bench.set(bench.right, "k11", a=11)
    bench.set(bench.left, "k5", a=5)
    bench.set(bench.right, "k5", a=5)
    plan = await bench.sync().plan(BOTH)
    assert plan.summary() == {"create": 2, "update": 2, "delete": 2, "unchanged": 6}
    await bench.sync().apply(plan)
    assert rows(bench.left) == rows(bench.right)
    assert {key: row["a"] for key, row in rows(bench.left).items() if row["a"]} == {
        "k1": 1,
        "k5": 5,
        "k10": 10,
        "k11": 11,
    }
    assert not {"k3", "k4"} & set(rows(bench.left))
    assert await bench.journal.lost() == []


async def test_equal_on_both_sides_is_agreed_whatever_the_base_says() -> None:
    """Both made the same edit; when one side takes its own back later, that is its edit, and not the other's."""
    bench = Bench()
    bench.fill(2)
    await bench.sync().sync(BOTH)
    for side in (bench.left, bench.right):
        bench.set(side, "k1", a=7)
    await bench.sync().sync(BOTH)
    bench.set(bench.left, "k1", a=0)
    await bench.sync().sync(BOTH)
    assert bench.right["k1"]["a"] == 0
    assert await bench.journal.lost() == []


async def test_a_first_sync_deletes_nothing() -> None:
    """What only one side has is new to the other; what differs is in conflict."""
    bench = Bench()
    bench.fill(3, bench.left)
    bench.set(bench.right, "k2", a=9)
    bench.set(bench.right, "k5", a=5)
    tally = await bench.sync().sync(BOTH)
    assert tally.done == 3
    assert [waiting.key for waiting in await bench.sync().conflicts()] == ["k2"]
    assert set(rows(bench.left)) == set(rows(bench.right)) == {"k0", "k1", "k2", "k5"}


async def test_a_person_decides_what_waits() -> None:
    """Nothing is written until then; the next sync does as said, and journals the update that is overruled."""
    bench = Bench(FieldMerge({"a": AskPerson()}))
    bench.fill(3)
    await bench.sync().sync(BOTH)
    bench.set(bench.left, "k1", a=1, b=1)
    bench.set(bench.right, "k1", a=2)
    for _ in range(2):
        await bench.sync().sync(BOTH)
        [waiting] = await bench.sync().conflicts()
        assert (bench.left["k1"]["a"], bench.right["k1"]["a"], bench.right["k1"]["b"]) == (1, 2, 0)
    await bench.sync().decide("k1", waiting.id, "right", by="ann")
    await bench.sync().sync(BOTH)
    assert rows(bench.left) == rows(bench.right)
    assert bench.left["k1"] == {"key": "k1", "a": 2, "b": 0}
    assert [(one.side, one.field, one.lost, one.strategy) for one in await bench.journal.lost()] == [
        ("left", "a", 1, "person"),
        ("left", "b", 1, "person"),
    ]
    assert await bench.sync().conflicts() == []


async def test_a_decision_does_not_outlive_its_conflict() -> None:
    """A side changes again after a person has decided: that is another conflict, and asked anew."""
    bench = Bench()
    bench.fill(3)
    await bench.sync().sync(BOTH)
    bench.set(bench.left, "k1", a=1)
    bench.set(bench.right, "k1", a=2)
    await bench.sync().sync(BOTH)
    [waiting] = await bench.sync().conflicts()
    await bench.sync().decide("k1", waiting.id, "left", by="ann")
    bench.set(bench.right, "k1", a=3)
    await bench.sync().sync(BOTH)
    [again] = await bench.sync().conflicts()
    assert (again.right["a"], bench.right["k1"]["a"], bench.left["k1"]["a"]) == (3, 3, 1)


async def test_a_conflict_that_ended_otherwise_is_closed() -> None:
    """Somebody made the sides equal by hand."""
    bench = Bench()
    bench.set(bench.left, "k1", a=1)
    bench.set(bench.right, "k1", a=2)
    await bench.sync().sync(BOTH)
    assert len(await bench.journal.waiting()) == 1
    bench.set(bench.right, "k1", a=1)
    assert await bench.sync().conflicts() == []
    assert await bench.journal.waiting() == []


async def test_one_way_notes_what_it_overwrites() -> None:
    """The follower was edited since both agreed: the leader wins, and the journal has the edit."""
    bench = Bench()
    bench.fill(10)
    await bench.sync().sync()
    bench.set(bench.right, "k1", a=5)
    bench.set(bench.right, "k11", a=6)
    bench.set(bench.left, "k2", a=7)
    await bench.sync().sync()
    assert rows(bench.right) == rows(bench.left)
    assert [(one.key, one.field, one.lost) for one in sorted(await bench.journal.lost(), key=lambda one: one.key)] == [
        ("k1", "a", 5),
        ("k11", None, {"key": "k11", "a": 6, "b": 0}),
    ]


async def test_what_changed_since_it_was_compared_is_compared_again() -> None:
    """Another writer is faster than two of three steps: the first of these is merged with his edit, the second came out equal."""
    bench = Bench(FieldMerge(otherwise=SourcePriority("left")))
    bench.fill(5)
    await bench.sync().sync(BOTH)
    for key in ("k1", "k2", "k3"):
        bench.set(bench.left, key, a=1)

    class Busy(Around):
        async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
            if bench.right["k1"]["b"] == 0:
                bench.set(bench.right, "k1", b=9)
                bench.set(bench.right, "k2", a=1)
            return await self.side.write(steps)

    tally = await bench.sync(right=Busy(bench.right)).sync(BOTH)
    assert tally.counts() == {"done": 3, "refused": 0, "unknown": 0, "untried": 0}
    assert bench.right["k1"] == bench.left["k1"] == {"key": "k1", "a": 1, "b": 9}
    assert rows(bench.left) == rows(bench.right)
    assert await bench.journal.lost() == []


async def test_an_object_that_moved_on_both_sides_is_compared_again_once() -> None:
    """A merge writes both sides; both had changed by then, and both are refused."""
    bench = Bench(FieldMerge(otherwise=SourcePriority("left")))
    bench.fill(3)
    await bench.sync().sync(BOTH)
    bench.set(bench.left, "k1", a=1)
    bench.set(bench.right, "k1", b=1)

    class Busy(Around):
        async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
            if bench.left["k1"]["a"] == 1:
                bench.set(bench.left, "k1", a=2)
                bench.set(bench.right, "k1", b=2)
            return await self.side.write(steps)

    tally = await bench.sync(Busy(bench.left)).sync(BOTH)
    assert tally.counts() == {"done": 2, "refused": 0, "unknown": 0, "untried": 0}
    assert bench.left["k1"] == bench.right["k1"] == {"key": "k1", "a": 2, "b": 2}


async def test_a_plan_is_applied_exactly_or_refused_object_by_object() -> None:
    """An old plan does not touch what has changed since; what it would have overruled there is not called lost."""
    bench = Bench(SourcePriority("left"))
    bench.fill(3)
    sync = bench.sync()
    await sync.sync(BOTH)
    for key, a in (("k1", 1), ("k2", 2)):
        bench.set(bench.left, key, a=a)
        bench.set(bench.right, key, a=9)
    plan = await sync.plan(BOTH)
    bench.set(bench.right, "k1", a=8)
    tally = await sync.apply(plan)
    assert (tally.done, tally.refused, tally.moved) == (1, 1, ["k1"])
    assert (bench.right["k1"]["a"], bench.right["k2"]["a"]) == (8, 2)
    assert [(one.key, one.lost) for one in await bench.journal.lost()] == [("k2", 9)]


async def test_an_old_plan_does_not_turn_the_base_back() -> None:
    """Both sides held the same when it was made, and have gone on to another state since: that they agreed then is not noted."""
    bench = Bench()
    bench.fill(2)
    await bench.sync().sync(BOTH)
    for side in (bench.left, bench.right):
        bench.set(side, "k1", a=7)
    old = await bench.sync().plan(BOTH)
    for side in (bench.left, bench.right):
        bench.set(side, "k1", a=0)
    await bench.sync().sync(BOTH)
    await bench.sync().apply(old)
    bench.set(bench.left, "k1", a=7)
    await bench.sync().sync(BOTH)
    assert bench.left["k1"]["a"] == bench.right["k1"]["a"] == 7


async def test_a_first_agreement_needs_no_diffsync() -> None:
    """What has equal digests on both sides is equal; it is read to be kept, and not compared."""
    bench = Bench()
    bench.fill(100)
    sync = bench.sync()
    await sync.sync(BOTH)
    assert sync.describe().counters["compared"] == 0
    bench.left.remove("k1")
    await sync.sync(BOTH)
    assert sync.describe().counters["compared"] == 1
    assert "k1" not in bench.right


class Partial(Around):
    """A side whose load goes wrong in one way or another."""

    def __init__(self, side: Side, way: str) -> None:
        super().__init__(side)
        self.way = way

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Part of it."""
        if self.way == "nothing":
            yield Complete(0, utc_now())
            return
        first = True
        async for batch in self.side.load():
            if isinstance(batch, Complete):
                if self.way == "miscounted":
                    yield Complete(batch.rows + 1, batch.instant)
                elif self.way == "twice":
                    yield batch
                    yield batch
                elif self.way == "doubled":
                    yield Complete(batch.rows * 2, batch.instant)
                continue
            yield batch[:5] if self.way == "cut" else batch
            if self.way == "doubled":
                yield batch
            if self.way == "broken" and first:
                raise ValueError("page 3 of 5")
            first = False

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """What a source that answers 200 with nothing has under a key."""
        return [Entity(key, None) for key in keys] if self.way == "nothing" else await self.side.fetch(keys)

    async def changes(self, after: Position | None) -> None:
        """It has no feed."""


@pytest.mark.parametrize("way", ["nothing", "cut", "broken", "miscounted", "twice", "doubled", "unmarked"])
@pytest.mark.parametrize("direction", list(Direction))
async def test_a_load_that_is_not_whole_deletes_nothing(way: str, direction: Direction) -> None:
    """Not even when deletes are confirmed; the refusal says what was wrong, and either side stays as it is."""
    bench = Bench()
    bench.fill(10)
    await bench.sync().sync(BOTH)
    for side in ("left", "right"):
        if (direction, side) in {(Direction.TO_LEFT, "left"), (Direction.TO_RIGHT, "right")} and way == "nothing":
            continue  # an empty follower is filled
        around = {side: Partial(getattr(bench, side), way)}
        with pytest.raises(LoadRefused):
            await bench.sync(**around, digests=None, delete_guard=1.0).sync(direction, confirm_deletes=True)
    assert len(rows(bench.left)) == len(rows(bench.right)) == 10


async def test_more_deletes_than_the_guard_allows_want_a_confirmation() -> None:
    """On the side that they are for; nothing is changed before."""
    bench = Bench()
    bench.fill(10)
    sync = bench.sync()
    await sync.sync(BOTH)
    for n in range(3):
        bench.right.remove(f"k{n}")
    bench.set(bench.right, "k5", a=1)
    with pytest.raises(DeletesUnconfirmed, match="3 of 10"):
        await sync.sync(BOTH)
    assert len(rows(bench.left)) == 10
    assert bench.left["k5"]["a"] == 0
    assert (await sync.sync(BOTH, confirm_deletes=True)).done == 4
    assert rows(bench.left) == rows(bench.right)


@pytest.mark.parametrize("broken", [UnknownOutcome("no answer"), RuntimeError("boom")])
@pytest.mark.parametrize("done", [True, False])
async def test_an_unknown_outcome_stays_unknown_until_the_next_sync_looks(broken: Exception, done: bool) -> None:
    """It ends the run, with the rest untried; whether it was done or not, the next one makes both sides equal."""
    bench = Bench(SourcePriority("left"))
    bench.fill(1500, bench.left)

    class Breaking(Around):
        async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
            if len(bench.right) == 500:
                if done:
                    await self.side.write(steps)
                raise broken
            return await self.side.write(steps)

    tally = await bench.sync(right=Breaking(bench.right)).sync(BOTH)
    assert (tally.status, tally.counts()) == ("unknown", {"done": 500, "refused": 0, "unknown": 500, "untried": 500})
    tally = await bench.sync().sync(BOTH)
    assert (tally.status, tally.done) == ("done", 500 if done else 1000)
    assert len(bench.right) == 1500


async def test_a_side_that_is_away_is_no_outcome() -> None:
    """Unavailable is raised, nothing is called done, lost or refused; the same plan can be applied again."""
    bench = Bench(SourcePriority("left"))
    bench.fill(2)
    await bench.sync().sync(BOTH)
    bench.set(bench.left, "k1", a=1)
    bench.set(bench.right, "k1", a=2)

    class Away(Around):
        async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
            raise Unavailable("away")

    plan = await bench.sync().plan(BOTH)
    with pytest.raises(Unavailable):
        await bench.sync(right=Away(bench.right)).apply(plan)
    assert await bench.journal.lost() == []
    assert (await bench.sync().apply(plan)).done == 1
    assert [one.lost for one in await bench.journal.lost()] == [2]


class Died(BaseException):
    """The process was killed."""


class Mortal:
    """Kills the process at the n-th thing that it does to the world outside, before or after it was done."""

    def __init__(self, target: Any, fuse: list[int], methods: set[str]) -> None:
        self._target, self._fuse, self._methods = target, fuse, methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in self._methods:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._burn()
            result = await found(*args, **kwargs)
            self._burn()
            return result

        return call

    def _burn(self) -> None:
        self._fuse[0] -= 1
        if self._fuse[0] == 0:
            raise Died


EDIT = st.tuples(
    st.sampled_from(["left", "right"]), st.integers(0, 5), st.sampled_from("ab"), st.none() | st.integers(1, 3)
)
ROUND = st.tuples(st.lists(EDIT, max_size=6), st.lists(EDIT, max_size=2), st.integers(0, 40))
MERGING: list[Strategy] = [LastWriter(), SourcePriority("left"), FieldMerge(otherwise=LastWriter())]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROUND, min_size=1, max_size=4), st.sampled_from(MERGING), st.sampled_from([0, 600]), st.booleans())
async def test_no_update_is_lost_outside_the_journal(
    rounds: list[Any], strategy: Strategy, apart: int, in_history: bool
) -> None:
    """Both sides are edited before and while a sync runs, the process is killed anywhere in it, the clocks are ten minutes
    apart: after one more sync both are equal, and every edit that its own side did not take back holds, or is in the journal.
    """
    bench = Bench(strategy, in_history=in_history)
    clocks = {"left": ManualClock(), "right": ManualClock()}
    clocks["right"].advance(apart)
    bench.left = MappingSide("left", clock=HybridClock("left", clocks["left"]))
    bench.right = MappingSide("right", clock=HybridClock("right", clocks["right"]))
    bench.fill(4)
    bench.set(bench.left, "k9")  # nobody touches it: of a side that has become empty nothing would be deleted
    await bench.sync().sync(BOTH)
    edits = Edits(bench)
    for before, during, fuse in rounds:
        for clock in clocks.values():
            clock.advance(1)
        edits.make(before)
        await edits.run(during, fuse)
        await bench.sync().sync(BOTH, confirm_deletes=True)
        assert rows(bench.left) == rows(bench.right)
        edits.check(rows(bench.left), await bench.journal.lost())


class Edits:
    """What people did to both sides, and what has become of it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.made: dict[tuple[str, str, str], Any] = {}  # side, key, field: the value that a person has set last
        self.unique = 0

    def make(self, edits: Sequence[tuple[str, int, str, int | None]]) -> None:
        """Edit; each value is another one, so that it can be told which edit it was."""
        for side_name, number, name, value in edits:
            side, key = getattr(self.bench, side_name), f"k{number}"
            if value is None:
                if key in side:  # a deletion of what is not there is none
                    for field in "ab":
                        self.made.pop((side_name, key, field), None)
                    side.remove(key)
                continue
            self.unique += 1
            self.bench.set(side, key, **{name: self.unique})
            self.made[side_name, key, name] = self.unique

    async def run(self, during: Sequence[Any], fuse: int) -> None:
        """A sync that is killed, or not, and in which people go on."""
        bench, burning, pending = self.bench, [fuse], [during]
        edits = self

        class Busy(Around):
            async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
                if (
                    pending
                ):  # before anything of this run has been written, so that nobody edits what he has just been sent
                    edits.make(pending.pop())
                return await self.side.write(steps)

        def mortal(target: Any, *methods: str) -> Any:
            return Mortal(target, burning, set(methods))

        sync = DiffSynchronizer(
            "things",
            mortal(Busy(bench.left), "write", "fetch"),
            mortal(Busy(bench.right), "write", "fetch"),
            SCHEMA,
            digests=(mortal(bench.digests[0], "write", "drop"), mortal(bench.digests[1], "write", "drop")),
            agreed=self.base(mortal),
            journal=ConflictJournal(mortal(bench.history, "append"), "things"),
            strategy=bench.strategy,
        )
        with contextlib.suppress(Died, NervError):
            await sync.sync(BOTH, confirm_deletes=True)

    def base(self, mortal: Callable[..., Any]) -> Records | InHistory:
        """What both agreed on, for a process that dies."""
        place = self.bench.agreed
        if isinstance(place, InHistory):
            return InHistory(mortal(place.side, "write", "fetch"), mortal(place.records, "write", "drop"))
        records: Records = mortal(place, "write")
        return records

    def check(self, found: Mapping[str, Any], lost: Sequence[Lost]) -> None:
        """Nothing is gone without a trace."""
        journaled = set[tuple[str, str, str, Any]]()
        for one in lost:
            values = (
                {one.field: one.lost} if one.field is not None else one.lost if isinstance(one.lost, Mapping) else {}
            )
            journaled |= {(one.side, one.key, name, value) for name, value in values.items()}
        for (_, key, name), value in self.made.items():
            holds = key in found and found[key][name] == value
            # What the other side had taken over from here before it was killed may be lost there.
            assert holds or any((at, key, name, value) in journaled for at in ("left", "right")), (key, name, value)
        self.made.clear()  # from now on both know of all of it
