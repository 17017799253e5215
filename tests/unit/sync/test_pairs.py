# SPDX-License-Identifier: Apache-2.0
"""Runs between the sides of a pair: plans that are approved, conflicts that persons decide, and runs that go on after a kill."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

import nerv.sync
from nerv.app.picture import picture
from nerv.client import Client
from nerv.clock import SystemClock
from nerv.errors import Misconfigured, NotFound, Unavailable
from nerv.protocols import AppendRequest
from nerv.protocols.side import Row, Side, Step, WriteOutcome
from nerv.sync import Direction, ParentsInCycle, PlanMoved, PlanUnapproved
from nerv.sync.sides import MappingSide
from nerv.sync.strategies import FieldMerge, SourcePriority
from nerv.sync.synchronizer import DiffSynchronizer
from nerv.types import EventType
from nerv_sync.model import Order
from nerv_sync.record import RunRecord
from tests.unit.sync.bench import Stage


class Failing(MappingSide):
    """A side that is away when so many batches were written; `answers` counts down."""

    answers = 1_000_000

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write, or be away."""
        self.answers -= 1
        if self.answers < 0:
            raise Unavailable("away")
        return await super().write(steps)


class Hangar(Stage):
    """Planes of a hangar and an office."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.left, self.right = MappingSide("hangar"), Failing("office")
        left, right = self.left, self.right

        class Planes(nerv.sync.Pair):
            identifiers = ("key",)
            direction = Direction.BOTH
            strategy = FieldMerge({"seats": SourcePriority("left")})

            def left(self, mesh: Client) -> Side:
                return left

            def right(self, mesh: Client) -> Side:
                return right

        self.app.sync("planes")(type("Planes", (Planes,), attributes))

    def put(self, side: MappingSide, key: str, **values: Any) -> None:
        """Change some values of a plane."""
        side.put(key, {"key": key, "seats": 1, "note": "", **(dict(side[key]) if key in side else {}), **values})

    async def sync(self) -> DiffSynchronizer:
        """As a new process has it."""
        return (await self.synchronizers().open("planes")).synchronizer

    async def kinds(self, stream: str) -> list[str]:
        """The types of the events of a stream."""
        return [event.type async for event in self.history.read(stream)]


@pytest.fixture
async def hangar() -> Hangar:
    """Three planes, equal on both sides, and agreed on."""
    made = Hangar()
    for key in ("a", "b", "c"):
        for side in (made.left, made.right):
            made.put(side, key)
    async with made.replica() as runs:
        await runs.order(Order("planes", "first"))
    return made


async def test_exactly_the_approved_plan_is_applied(hangar: Hangar) -> None:
    """A dry run changes nothing and keeps its plan; unapproved it is refused; approved it is applied, by whom is known."""
    hangar.put(hangar.left, "a", note="painted")
    async with hangar.replica() as runs:
        dry = await runs.order(Order("planes", "dry", dry_run=True))
        assert hangar.right["a"]["note"] == ""
        assert [(c["side"], c["action"], c["key"]) for c in dry["changes"]] == [("right", "update", "a")]
        with pytest.raises(PlanUnapproved, match=f"nerv sync approve planes {dry['plan']}"):
            await runs.order(Order("planes", "early", plan=dry["plan"]))
        first = await hangar.shelf().approve("planes", dry["plan"], "ann")
        assert first["by"] == "ann"
        assert await hangar.shelf().approve("planes", dry["plan"], "bob") == first
        done = await runs.order(Order("planes", "late", plan=dry["plan"], by="bob"))
        assert (done["status"], done["plan"], done["by"]) == ("done", dry["plan"], "bob")
    assert hangar.right["a"]["note"] == "painted"
    kept = await hangar.shelf().load("planes", dry["plan"])
    assert [step.key for step in kept.plan.steps] == ["a"]


@pytest.mark.parametrize("edit", ["what it writes", "what it takes from", "something else"])
async def test_a_plan_is_refused_when_the_world_has_moved(hangar: Hangar, edit: str) -> None:
    """Either side is not as it was: nothing is changed, and the objects are named."""
    hangar.put(hangar.left, "a", note="painted")
    async with hangar.replica() as runs:
        plan = (await runs.order(Order("planes", "dry", dry_run=True)))["plan"]
        await hangar.shelf().approve("planes", plan, "ann")
        match edit:
            case "what it writes":
                hangar.put(hangar.right, "a", seats=9)
            case "what it takes from":
                hangar.put(hangar.left, "a", note="scratched")
            case _:
                hangar.put(hangar.left, "b", note="new")
        with pytest.raises(PlanMoved, match="b" if edit == "something else" else "a") as caught:
            await runs.order(Order("planes", "late", plan=plan))
    assert caught.value.errors[0]["key"] in ("a", "b")
    assert hangar.right["a"]["note"] == ""


async def test_a_sync_that_wants_approval_applies_nothing_else() -> None:
    """A run of its own is refused, and says how it is done."""
    hangar = Hangar(approval=True)
    hangar.put(hangar.left, "a")
    async with hangar.replica() as runs:
        with pytest.raises(PlanUnapproved, match="nerv sync plan planes"):
            await runs.order(Order("planes", "r"))
        plan = (await runs.order(Order("planes", "dry", dry_run=True)))["plan"]
        await hangar.shelf().approve("planes", plan, "ann")
        assert (await runs.order(Order("planes", "s", plan=plan)))["outcomes"]["done"] == 1
    with pytest.raises(NotFound, match="nerv sync plan planes"):
        await hangar.shelf().load("planes", "0" * 32)


async def test_a_conflict_waits_for_a_person_and_what_is_overruled_is_journaled(hangar: Hangar) -> None:
    """Of one field the left side wins, and the loss is kept; of another nobody does, until somebody has decided."""
    hangar.put(hangar.left, "a", seats=2)
    hangar.put(hangar.right, "a", seats=3)
    hangar.put(hangar.left, "b", note="left")
    hangar.put(hangar.right, "b", note="right")
    async with hangar.replica() as runs:
        document = await runs.order(Order("planes", "r"))
        assert (document["status"], document["asked"], document["losses"]) == ("done", ["b"], 1)
        sync = await hangar.sync()
        [waiting] = await sync.conflicts()
        assert (waiting.key, waiting.left["note"], waiting.right["note"]) == ("b", "left", "right")
        await sync.decide("b", waiting.id, "right", by="ann")
        await runs.order(Order("planes", "s"))
    assert (hangar.left["b"]["note"], hangar.right["a"]["seats"]) == ("right", 2)
    opened = await hangar.synchronizers().open("planes")
    assert opened.journal is not None
    lost = {(one.side, one.key, one.field, one.lost, one.strategy) for one in await opened.journal.lost()}
    assert lost == {("right", "a", "seats", 3, "field-merge"), ("left", "b", "note", "left", "person")}


async def test_a_run_goes_on_at_the_object_where_it_stopped(hangar: Hangar) -> None:
    """The target goes away after two batches; the same order elsewhere goes on with the recorded plan, and only what is left."""
    for n in range(1300):
        hangar.put(hangar.left, f"n{n:04d}")
    hangar.right.answers = 2
    async with hangar.replica() as runs:
        with pytest.raises(Unavailable):
            await runs.order(Order("planes", "r"))
    hangar.right.answers = 1_000_000
    hangar.put(hangar.left, "n0001", note="changed since")
    async with hangar.replica() as runs:
        document = await runs.order(Order("planes", "r"))
    assert (document["status"], document["attempt"], document["resumed"]) == ("done", 2, 1000)
    assert document["outcomes"] == {"done": 1300, "refused": 0, "unknown": 0, "untried": 0}
    assert hangar.right["n0001"]["note"] == "", "the recorded plan does not know of it"
    record = RunRecord(hangar.history, SystemClock(), Order("planes", "r"), 0)
    objects = await record.objects(10_000)
    assert [(one["key"], one["attempt"]) for one in objects if one["outcome"] == "done"] == [
        (f"n{n:04d}", 1 if n < 1000 else 2) for n in range(1300)
    ]
    async with hangar.replica() as runs:
        assert [c["key"] for c in (await runs.order(Order("planes", "s")))["changes"]] == ["n0001"]


async def test_what_moves_while_a_run_applies_is_compared_anew(hangar: Hangar) -> None:
    """An edit comes between plan and write: it is not overwritten, a second round settles it, and the journal has both."""
    hangar.put(hangar.left, "a", note="left")
    write = hangar.right.write

    async def busy(steps: Sequence[Step]) -> list[WriteOutcome]:
        hangar.right.write = write  # type: ignore[method-assign]
        hangar.put(hangar.right, "a", seats=7)
        return await write(steps)

    hangar.right.write = busy  # type: ignore[method-assign]
    async with hangar.replica() as runs:
        document = await runs.order(Order("planes", "r"))
    assert (document["status"], document["outcomes"]["refused"]) == ("done", 0)
    assert hangar.left["a"] == hangar.right["a"] == {"key": "a", "seats": 7, "note": "left"}
    kinds = await hangar.kinds("sync-planes/r")
    assert [kind for kind in kinds if kind != EventType.SYNC_APPLIED] == [
        EventType.SYNC_PLANNED,
        EventType.SYNC_OUTCOMES,
        EventType.SYNC_PLANNED,
        EventType.SYNC_OUTCOMES,
        EventType.SYNC_OUTCOMES,
        EventType.SYNC_FINISHED,
    ]


async def test_digests_outlive_the_replica_and_are_made_anew_when_they_are_lost(hangar: Hangar) -> None:
    """Another replica reads only what has changed; robbed of its records, or of some of them, it reads both sides whole."""

    async def loads() -> int:
        sync = await hangar.sync()
        assert (await sync.plan(Direction.BOTH)).steps == []
        return sum(part.counters["loads"] for part in sync.describe().parts if part.kind == "Digests")

    assert await loads() == 0
    hangar.records.clear()
    assert await loads() == 2
    assert await loads() == 0
    for key, records in hangar.records.items():
        if "left" in key:
            records._records.clear()  # a store that has lost what it held, but not the head
    hangar.put(hangar.left, "a", note="seen")
    sync = await hangar.sync()
    assert [step.key for step in (await sync.plan(Direction.BOTH)).steps] == ["a"]


async def test_a_verification_names_what_no_feed_has_told(hangar: Hangar) -> None:
    """A row that changed behind the feed: found, counted, and synced in the same run."""
    entity = hangar.left._entities["a"]
    hangar.left._entities["a"] = entity._replace(row={"key": "a", "seats": 5, "note": ""}, version=99)
    async with hangar.replica() as runs:
        assert (await runs.order(Order("planes", "r")))["changes"] == []
        document = await runs.order(Order("planes", "s", verify=True))
    assert document["missed"] == {"left": 1, "right": 0}
    assert document["missed_keys"]["left"] == ["a"]
    assert hangar.right["a"]["seats"] == 5


async def test_a_run_may_be_of_a_part(hangar: Hangar) -> None:
    """Only what the filters let through."""
    hangar.put(hangar.left, "a", seats=2)
    hangar.put(hangar.left, "b", seats=3)
    async with hangar.replica() as runs:
        document = await runs.order(Order("planes", "r", where=("key=b",)))
    assert [change["key"] for change in document["changes"]] == ["b"]
    assert hangar.right["a"]["seats"] == 1


async def test_a_plan_is_kept_in_pieces(hangar: Hangar, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one append holds; a replica that died half way, with a plan that differs beside its steps, does no harm."""
    monkeypatch.setattr("nerv_sync.shelf.PIECE", 64)
    for n in range(50):
        hangar.put(hangar.left, f"n{n}", note=f"{n * 7919}")
    plan = await (await hangar.sync()).plan(Direction.BOTH)
    other = replace(plan, unchanged=1000)
    await hangar.shelf().keep("planes", other, ())
    pieces = [event async for event in hangar.history.read(f"sync-planes/plan/{plan.id}")]
    assert len(pieces) > 8
    half = Hangar()
    await half.history.append(
        [AppendRequest(f"sync-planes/plan/{plan.id}", [replace(event, sequence=None)]) for event in pieces[:3]]
    )
    with pytest.raises(NotFound):
        await half.shelf().load("planes", plan.id)
    for _ in range(2):
        await half.shelf().keep("planes", plan, ("key=n1",))
    kept = await half.shelf().load("planes", plan.id)
    assert (kept.plan, kept.where) == (replace(plan, asked=()), ("key=n1",))


async def test_a_plan_of_a_part_is_applied_as_it_was_made(hangar: Hangar) -> None:
    """With the filters that it was made with; what is beside them neither stops it nor is written."""
    hangar.put(hangar.left, "a", seats=2)
    hangar.put(hangar.left, "b", seats=3)
    async with hangar.replica() as runs:
        plan = (await runs.order(Order("planes", "dry", dry_run=True, where=("key=b",))))["plan"]
        await hangar.shelf().approve("planes", plan, "ann")
        document = await runs.order(Order("planes", "late", plan=plan))
    assert (document["status"], document["outcomes"]["done"]) == ("done", 1)
    assert (hangar.right["a"]["seats"], hangar.right["b"]["seats"]) == (1, 3)


async def test_a_cycle_of_parents_is_refused_by_name() -> None:
    """Nothing is written; the run's document has the objects."""

    def parent(self: Any, row: Row) -> str | None:
        found: str | None = row["above"]
        return found

    hangar = Hangar(parent=parent)
    hangar.put(hangar.left, "a", above="b")
    hangar.put(hangar.left, "b", above="a")
    async with hangar.replica() as runs:
        for dry_run in (True, False):
            with pytest.raises(ParentsInCycle, match="a → b → a"):
                await runs.order(Order("planes", f"r{dry_run}", dry_run))
    assert len(hangar.right) == 0


class Nothing(nerv.sync.Pair):
    """A pair whose rows cannot be told apart."""

    scope: ClassVar[dict[str, Any]] = {}

    def left(self, mesh: Client) -> Side:
        """A side."""
        return MappingSide("a")

    right = left


@pytest.mark.parametrize(
    ("name", "pair"), [("planes", Nothing), ("a-b", Nothing), ("planes", dict), ("p", nerv.sync.Pair)]
)
def test_a_pair_that_cannot_work_is_refused_at_the_start(name: str, pair: type[Any]) -> None:
    """Without identifiers, under a name with a dash, no pair at all, one without sides."""
    stage = Stage()
    stage.app.sync(name)(pair)
    with pytest.raises(Misconfigured, match=name):
        stage.synchronizers()


def test_a_source_and_a_pair_have_names_of_one_kind() -> None:
    """One path, one journal."""
    stage = Stage()
    stage.app.sync("planes")(Nothing)
    with pytest.raises(Misconfigured, match="planes"):
        stage.app.source("planes")(Nothing)


def test_a_pair_is_shown_with_what_decides_it(hangar: Hangar) -> None:
    """By `nerv describe`, and by the list of the service."""
    [row] = picture(hangar.app)["syncs"]
    assert (row["name"], row["direction"], row["strategy"]) == ("planes", "both", "field-merge")
    listed = hangar.pairs().row("planes")
    assert (listed["kind"], listed["identifiers"], listed["strategy"]) == ("planes", ["key"], "field-merge")
