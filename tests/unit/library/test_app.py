# SPDX-License-Identifier: Apache-2.0
"""The registry of an app: what is declared is found, and what is wrong is refused at import."""

import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import PrivateAttr

import nerv
from nerv.app import find_app
from nerv.app.picture import components
from nerv.cloudevents import to_proto
from nerv.di import Inject
from nerv.errors import Invalid, Misconfigured, SchemaMismatch
from nerv.topics import full, name, of_mesh, projection_of
from nerv.types import (
    Event,
    category_of,
    check_id,
    entity_of,
    format_instant,
    instant_of,
    new_event_id,
    parse_instant,
    utc_now,
)


class Noted(nerv.Event):
    """Something."""

    key: str
    n: int


def app() -> nerv.App:
    """An app with one of each."""
    made = nerv.App("notes")
    made.event("note.taken.v1", topic="notes.note.v1", key="key")(Noted)
    return made


def test_what_is_declared_twice_is_refused() -> None:
    """Names are unique in their kind."""
    made = app()
    with pytest.raises(Misconfigured, match=r"note\.taken\.v1"):
        made.event("note.taken.v1")(Noted)


def test_what_is_not_declared_is_refused() -> None:
    """A key that is no field, a reaction to an unknown event, a projection of one, a perspective of nothing."""
    made = app()
    with pytest.raises(Misconfigured, match="colour"):
        made.event("other.v1", key="colour")(Noted)
    with pytest.raises(Misconfigured, match=r"missing\.v1"):
        made.on("missing.v1")(lambda event: None)
    made.projection("p", on=["missing.v1"])(lambda state, event: state)
    with pytest.raises(Misconfigured, match=r"missing\.v1"):
        made.check()
    other = app()
    other.perspective("nowhere", "passenger")(nerv.Perspective)
    with pytest.raises(Misconfigured, match="nowhere"):
        other.check()


def test_decoding_names_each_fault() -> None:
    """Data that does not fit gives the path of every fault; what fits knows its envelope."""
    made = app()
    bad: Event[bytes] = Event("1", "s", "note.taken.v1", datetime(2013, 1, 1, tzinfo=UTC), b'{"n": "x"}')
    with pytest.raises(SchemaMismatch) as caught:
        made.decode(bad)
    assert {fault["path"] for fault in caught.value.errors} == {"/key", "/n"}
    good: Event[bytes] = Event("2", "s", "note.taken.v1", datetime(2013, 1, 1, tzinfo=UTC), b'{"key": "a", "n": 1}')
    assert made.decode(good).meta is good
    with pytest.raises(ValueError, match="made in code"):
        _ = Noted(key="a", n=1).meta


class Marked(nerv.Event):
    """An event with a private attribute of its own."""

    key: str
    _seen: int = PrivateAttr(default=3)


def test_an_envelope_goes_with_its_event() -> None:
    """From an event or its message the same envelope comes; copies and pickles have it, and private attributes stay."""
    made = app()
    made.event("note.marked.v1")(Marked)
    noon = datetime(2013, 1, 15, 12, tzinfo=UTC)
    recorded = Event("3", "s", "note.marked.v1", noon, b'{"key": "a"}').recorded("note-a", 7, noon)
    for decoded in (made.decode(recorded), made.decode(to_proto(recorded))):
        assert isinstance(decoded, Marked)
        for same in (decoded, decoded.model_copy(), decoded.model_copy(deep=True), pickle.loads(pickle.dumps(decoded))):  # noqa: S301 - our own
            assert same.meta == recorded
            assert (same, same._seen) == (Marked(key="a"), 3)
        assert decoded.meta is decoded.meta
        assert decoded.model_dump() == {"key": "a"}
    assert made.decode(recorded).came_as(recorded)
    assert not Marked(key="a").came_as(recorded)
    plain = made.decode(Event("4", "s", "note.taken.v1", noon, b'{"key": "a", "n": 1}'))
    assert plain.model_copy(update={"n": 2}).meta is plain.meta


def test_finding_an_app_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong reference has its own error."""
    (tmp_path / "found_app.py").write_text("import nerv\napp = nerv.App('found')\nnumber = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_app("found_app:app").name == "found"
    for reference, words in (
        ("found_app", "package.module:attribute"),
        ("nowhere_at_all:app", "nowhere_at_all"),
        ("found_app:number", "not a nerv.App"),
        ("found_app:missing", "not a nerv.App"),
    ):
        with pytest.raises(Misconfigured, match=words):
            find_app(reference)


def test_topics_of_a_mesh_begin_with_its_name() -> None:
    """Two meshes share a Kafka without sharing a topic; what is not in the list is refused."""
    one, two = ({topic.name for topic in of_mesh(mesh, projections=["p"])} for mesh in ("one", "two"))
    assert not one & two
    assert name("one", "history.v1") in one
    assert "one.rekeyed.p.v1" in one
    with pytest.raises(Misconfigured):
        name("one", "unheard.v1")


def test_streams_have_a_category_and_an_entity() -> None:
    """The first dash divides; an entity may hold more of them."""
    assert (category_of("flight-2013-01-01-UA"), entity_of("flight-2013-01-01-UA")) == ("flight", "2013-01-01-UA")
    assert (category_of("solo"), entity_of("solo")) == ("solo", "solo")


def test_ids_are_ordered_by_time_and_instants_by_their_text() -> None:
    """UUIDv7 sorts as made; instants are written with fixed width, and read only with an offset."""
    made = [new_event_id() for _ in range(1000)]
    assert made == sorted(made)
    assert format_instant(parse_instant("2013-01-15T07:00:00-05:00")) == "2013-01-15T12:00:00.000000Z"
    with pytest.raises(Invalid, match="offset"):
        parse_instant("2013-01-15T12:00:00")
    for bad in ("", "a\nb", "a\x00", "x" * 257):
        with pytest.raises(nerv.NervError):
            check_id(bad, "id")


def test_an_event_equals_another_with_the_same_data() -> None:
    """Also one that came over the wire, which has an envelope; and equal events have one hash."""
    app = nerv.App("equality")

    @app.event("thing.noted.v1")
    class Noted(nerv.Event):
        text: str

    @app.event("thing.other.v1")
    class Other(nerv.Event):
        text: str

    came = app.decode(Event("1", "test", "thing.noted.v1", utc_now(), b'{"text": "x"}'))
    assert came == Noted(text="x")
    assert hash(came) == hash(Noted(text="x"))
    assert came != Noted(text="y")
    assert came != Other(text="x")


def test_a_time_ordered_id_says_when_it_was_made() -> None:
    """To the millisecond; ids made one after the other sort so; other ids say nothing."""
    before = utc_now().replace(microsecond=0)
    made = [new_event_id() for _ in range(1000)]
    assert before <= instant_of(made[0]) <= utc_now()
    assert made == sorted(made)
    for wrong in ("x", "", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"):
        with pytest.raises(Invalid, match="UUIDv7"):
            instant_of(wrong)


async def test_components_of_an_app_are_injected_into_its_functions() -> None:
    """And their graph is checked with the rest of the app."""
    made = app()
    made.container.value("size", 3)

    @made.task()
    @made.container.inject
    def measure(number: int, size: int = Inject("size")) -> int:
        return number * size

    made.check()
    assert [part.name for found in components(made) for part in found.parts] == ["size", "measure()"]
    async with made.container:
        assert made.tasks["measure"].function(2) == 6
    made.container.singleton("shelf", lambda boards: boards)
    with pytest.raises(Misconfigured, match="shelf needs boards"):
        made.check()


@pytest.mark.parametrize(
    "topic", ["shop.changes.a.v1", "m.changes.v1", "m.changes..v1", "m.changes.a.v2", "m.history.v1"]
)
def test_the_projection_of_a_topic_of_deltas_is_told_by_its_name(topic: str) -> None:
    """As an app names it, and back; other topics have none."""
    assert projection_of("m", full("m", "changes:a.b")) == "a.b"
    assert projection_of("m", topic) is None
