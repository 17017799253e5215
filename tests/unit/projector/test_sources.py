# SPDX-License-Identifier: Apache-2.0
"""Topics as sources: what their records are, under which keys they are folded, and what is refused where it is declared."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

import nerv
from nerv.errors import Invalid, Misconfigured
from nerv.kafka import Outgoing
from nerv.kafka.admin import TopicState
from nerv.projections import Projection
from nerv.protocols.views import Epoch
from nerv_projector.records import origin_of, parse
from nerv_projector.rekeying import RekeyHop, RekeySession
from nerv_projector.runner import _misfit_of_topics, _numbers
from nerv_projector.settings import ProjectorSettings
from nerv_projector.sources import SPREAD, Sources, sources_of
from tests.unit.projector.records_in_memory import Kept, Record, event

ORDERS, GATES = "shop.order.v1", "gates"
EPOCH = Epoch("now", {})


@pytest.fixture
def app() -> nerv.App:
    """One event type for each of two topics, and one for none."""
    found = nerv.App("test")

    @found.event("order.v1", topic=ORDERS)
    class Order(nerv.Event):
        """Of somebody."""

        who: str = "nobody"

    @found.event("gate.v1", topic=GATES)
    class Gate(nerv.Event):
        """Opened."""

        gate: str

    @found.event("note.v1")
    class Note(nerv.Event):
        """In history."""

        text: str

    return found


def settings() -> ProjectorSettings:
    """Of mesh `m`."""
    return ProjectorSettings.model_construct(mesh="m")


def fold(state: Any, event: Any) -> Any:
    """Nothing."""
    return state


@dataclass
class Commits:
    """A transactional producer that keeps what it commits, and refuses two transactions at a time."""

    records: list[Outgoing] = field(default_factory=list)
    offsets: list[tuple[tuple[str, int], int]] = field(default_factory=list)
    open: bool = False

    async def commit(self, records: Any, offsets: Any, consumer: Any) -> None:
        """Keep both."""
        assert not self.open
        self.open = True
        await asyncio.sleep(0)
        self.records += records
        self.offsets += offsets.items()
        self.open = False


def session(app: nerv.App, name: str, numbers: int = 2) -> tuple[RekeySession, dict[int, Commits], Kept]:
    """A session on all partitions."""
    projection: Projection[Any] = Projection(app, app.projections[name])
    letters, producers = Kept(), {number: Commits() for number in range(numbers)}
    hop = RekeyHop(
        projection, None, "test", letters, sources=sources_of(settings(), app, projection.spec),  # type: ignore[arg-type]  # asks nobody
        target="m.rekeyed.p.v1", group="m.projector", partitions=numbers,
    )  # fmt: skip
    return RekeySession(hop, EPOCH, producers, {}, None), producers, letters  # type: ignore[arg-type]  # nor closes anything


def bare(topic: str, key: bytes | None, value: bytes | None, partition: int = 0, offset: int = 0) -> Record:
    """A record of a client that knows nothing of events."""
    return Record(topic, partition, offset, key, value, [])


async def test_records_of_anybody_are_events_under_their_own_keys(app: nerv.App) -> None:
    """With `ce_` headers as they are, without them of the type that is declared for their topic, their place for an id."""
    app.projection("p", topics=[ORDERS, GATES])(fold)
    rekeyer, producers, letters = session(app, "p")
    known = event("gate.v1", "gate-B2", {"gate": "B2"})
    records = [
        bare(ORDERS, b"ann", b'{"who":"ann"}', offset=7),
        Record(GATES, 0, 3, b"B2", known.data, [("ce_id", b"1"), ("ce_source", b"x"), ("ce_type", b"gate.v1")]),
        bare(ORDERS, b"bob", None, offset=8),  # a tombstone
        bare(ORDERS, b"\xff", b"{}", offset=9),
        bare(ORDERS, None, b"{}", offset=10),
    ]
    await rekeyer.take(records)
    made = [Record("m.rekeyed.p.v1", 0, 0, r.key, r.value, list(r.headers)) for r in producers[0].records]
    assert [(record.key(), parse(record).type, parse(record).id, parse(record).data) for record in made] == [
        (b"ann", "order.v1", f"{ORDERS}/0/7", b'{"who":"ann"}'),
        (b"B2", "gate.v1", "1", known.data),
    ]
    assert [origin_of(record)[:2] for record in made] == [("now", 0), ("now", SPREAD)]
    assert producers[0].offsets == [((ORDERS, 0), 11), ((GATES, 0), 4)]
    causes = [cause for cause, _ in letters.letters]
    assert len(causes) == 2
    assert "not UTF-8; declare a key" in causes[0]
    assert "has no key; declare a key" in causes[1]


async def test_partitions_of_any_number_are_shared_out(app: nerv.App) -> None:
    """By the remainder of their number; those of one owner go in transactions one after the other."""
    app.projection("p", topics=[ORDERS, GATES], key=lambda event: "all of them")(fold)
    rekeyer, producers, _ = session(app, "p")
    records = [bare(topic, b"k", b'{"gate":"B2"}', p, p + 10) for topic in (ORDERS, GATES) for p in range(5)]
    await rekeyer.take(records)
    for number, producer in producers.items():
        owned = [p for p in range(5) if p % 2 == number]
        assert producer.offsets == [((topic, p), p + 11) for topic in (ORDERS, GATES) for p in owned]
        assert len(producer.records) == 2 * len(owned)


async def test_parts_of_a_merged_projection_are_those_of_the_partitions(app: nerv.App) -> None:
    """Each partition of each topic folds its own."""
    app.projection("p", topics=[ORDERS, "history"], merge=max)(fold)
    rekeyer, producers, _ = session(app, "p", 1)
    note = event("note.v1", "note-1", {"text": ""})
    await rekeyer.take([bare(ORDERS, None, b"{}", 3), Record("m.history.v1", 1, 0, b"note-1", note.data, [
        ("ce_id", b"1"), ("ce_source", b"x"), ("ce_type", b"note.v1"), ("ce_subject", b"note-1")])])  # fmt: skip
    assert [record.key for record in producers[0].records] == [b"3", str(SPREAD + 1).encode()]


def test_a_source_is_named_as_people_know_it(app: nerv.App) -> None:
    """History, the changes of a projection, or any topic; without a name history."""
    app.projection("q")(fold)
    app.projection("p", topics=["history", "changes:q", GATES], key="gate", ephemeral=True)(fold)
    app.check()
    assert sources_of(settings(), app, app.projections["q"]) == Sources(("m.history.v1",), {})
    found = sources_of(settings(), app, app.projections["p"])
    assert (found.topics, found.expire) == (("m.history.v1", "m.changes.q.v1", GATES), True)
    assert [found.place(found.number(place)) for place in ((GATES, 7), ("m.history.v1", 3))] == [
        (GATES, 7), ("m.history.v1", 3),
    ]  # fmt: skip


def test_an_epoch_goes_on_only_with_the_topics_that_it_began_with() -> None:
    """The same ones, not made anew, with as many partitions."""
    sources = Sources((ORDERS, GATES), {})
    topics = {ORDERS: TopicState(ORDERS, "1", 2), GATES: TopicState(GATES, "2", 1)}
    epoch = Epoch("now", {ORDERS: "1", GATES: "2"}, dict.fromkeys(_numbers(sources, topics), 0))
    assert _misfit_of_topics(epoch, sources, topics) is None
    assert _misfit_of_topics(epoch, sources, {**topics, GATES: TopicState(GATES, "3", 1)}) == "a topic was made anew"
    more = _misfit_of_topics(epoch, sources, {**topics, GATES: TopicState(GATES, "2", 2)})
    assert more == "a topic has more partitions than it had"
    others = _misfit_of_topics(epoch, Sources((ORDERS,), {}), {ORDERS: topics[ORDERS]})
    assert others == "it is declared to fold other topics"


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"topics": "gates"}, "a list of names"),
        ({"topics": [GATES, GATES]}, "names a topic twice"),
        ({"topics": ["history"]}, "leave topics out"),
        ({"topics": [GATES], "category": "gate"}, "with topics leave it out"),
        ({"topics": ["history", GATES]}, "say which: key="),
    ],
)
def test_topics_that_could_not_be_folded_are_refused(app: nerv.App, declared: dict[str, Any], says: str) -> None:
    """Where the projection is declared."""
    with pytest.raises(Misconfigured, match=says):
        app.projection("p", **declared)(fold)


@pytest.mark.parametrize("circle", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}])
def test_projections_do_not_fold_their_own_changes(app: nerv.App, circle: dict[str, str]) -> None:
    """By however many steps: they would never end. Nor those of none."""
    for name, other in circle.items():
        app.projection(name, topics=[f"changes:{other}"])(fold)
    with pytest.raises(Misconfigured, match="break the circle"):
        app.check()
    lonely = nerv.App("lonely")
    lonely.projection("a", topics=["changes:nothing"])(fold)
    with pytest.raises(Misconfigured, match="which is no projection"):
        lonely.check()


def test_a_reaction_to_changes_is_to_those_of_a_projection(app: nerv.App) -> None:
    """It is found when the app is checked; without any topic it is found at once."""
    with pytest.raises(Misconfigured, match="with a topic or with one named here"):
        app.on("note.v1", name="nowhere")(lambda event: None)
    app.on("note.v1", topic="changes:nothing", name="deaf")(lambda event: None)
    with pytest.raises(Misconfigured, match="reaction deaf is to changes:nothing"):
        app.check()


async def test_states_of_topics_are_not_in_history(app: nerv.App) -> None:
    """Who asks for one as of an instant is told so."""
    from nerv_projector.settings import FoldSettings
    from nerv_projector.timetravel import Instant, TimeTravel

    app.projection("p", topics=[GATES])(fold)
    travel = TimeTravel(None, FoldSettings())  # type: ignore[arg-type]  # it is not asked
    with pytest.raises(Invalid, match="reads as of an instant are of projections over history"):
        await travel.view(Projection(app, app.projections["p"]), "B2", Instant())
