# SPDX-License-Identifier: Apache-2.0
"""Older events are read as their newest type, wherever they are folded or reacted to; a broken chain is refused at the start."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

import nerv
from nerv.cloudevents import to_proto
from nerv.errors import Misconfigured, SchemaMismatch
from nerv.history.store import TemporalStore
from nerv.projections import Projection, StateProjector
from nerv.protocols import AppendRequest
from nerv.types import Event
from nerv_broker.model import append_request, react

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


class Left(nerv.Event):
    """An aircraft has left."""

    tail: str
    delay_seconds: int


def made() -> nerv.App:
    """An app whose departures have changed twice: minutes became seconds, then the aircraft got another name."""
    app = nerv.App("ups")
    app.event("left.v3", topic="ups.left.v1", key="tail")(Left)
    app.upcaster("left.v1", to="left.v2")(lambda data: {"tailnum": data["tailnum"], "seconds": data["minutes"] * 60})
    app.upcaster("left.v2", to="left.v3")(lambda data: {"tail": data["tailnum"], "delay_seconds": data["seconds"]})
    return app


def total(state: int | None, event: Left) -> int:
    """All delays together."""
    return (state or 0) + event.delay_seconds


def left(event_type: str, data: bytes, event_id: str = "e") -> Event[bytes]:
    """An event as it was recorded."""
    return Event(event_id, "test", event_type, NOON, data, dataschema="https://example.org/old")


OLD = (
    left("left.v1", b'{"tailnum":"N1","minutes":2}', "a"),
    left("left.v2", b'{"tailnum":"N1","seconds":3}', "b"),
    left("left.v3", b'{"tail":"N1","delay_seconds":4}', "c"),
)


def test_a_chain_is_followed_to_its_end() -> None:
    """Data and type become the newest; id, source and time stay, and the schema of the old data goes."""
    app = made()
    app.check()
    for event, seconds in zip(OLD, (120, 3, 4), strict=True):
        decoded = app.decode(event)
        assert decoded == Left(tail="N1", delay_seconds=seconds)
        assert (decoded.meta.id, decoded.meta.type, decoded.meta.time) == (event.id, "left.v3", NOON)
        from_message = app.decode(to_proto(event))
        assert (from_message, from_message.meta) == (decoded, decoded.meta)
    assert app.upcast(OLD[0]).dataschema is None
    assert app.upcast(OLD[2]) is OLD[2]
    assert (app.latest("left.v1"), app.latest("other.v1")) == ("left.v3", "other.v1")
    assert app.knows("left.v1")
    assert not app.knows("other.v1")


def test_an_upcaster_counts_from_its_declaration_on() -> None:
    """Also for a type of which events were read before, as what they are."""
    app = nerv.App("ups")
    app.event("left.v3")(Left)
    app.event("left.v4")(Left)
    as_it_is, as_the_next = left("left.v3", b'{"tail":"N1","delay_seconds":4}'), Left(tail="N1", delay_seconds=5)
    assert [app.decode(as_it_is) for _ in range(2)] == [Left(tail="N1", delay_seconds=4)] * 2
    app.upcaster("left.v3", to="left.v4")(lambda data: {**data, "delay_seconds": data["delay_seconds"] + 1})
    assert app.decode(as_it_is) == as_the_next


async def test_every_fold_takes_the_older_events() -> None:
    """The store loads them with the newer ones, whether the projection names its types or folds all."""
    for on in (["left.v3"], []):
        app = made()
        app.projection("delays", on=on, category="aircraft")(total)
        app.check()
        store = TemporalStore.in_memory()
        await store.append([AppendRequest("aircraft-N1", OLD)])
        assert (await StateProjector[int](app, "delays", store).state("N1")).state == 127


def test_a_key_for_a_type_is_found_by_the_newest() -> None:
    """A projection keyed by type keys older events as what they are read as."""
    app = made()
    app.projection("tails", on=["left.v3"], key={"left.v3": "tail"})(total)
    projection: Projection[int] = Projection(app, app.projections["tails"])
    recorded = [replace(event, subject="flight-1", sequence=n) for n, event in enumerate(OLD, 1)]
    assert [projection.keys(event) for event in recorded] == [("N1",)] * 3


def test_reactions_meet_the_newest() -> None:
    """What a reaction records of an older event is its newest form, under the ids of the original."""
    app = made()
    app.on("left.v3")(lambda event: nerv.append(f"aircraft-{event.tail}", event))
    app.check()
    [reaction] = app.reactions.values()
    [asked] = react(app, reaction, OLD[0])
    [event] = append_request(app, asked, asked.effect).events  # type: ignore[arg-type]  # it is an Append
    assert (event.type, event.causation_id) == ("left.v3", "a")
    assert app.decode(event) == Left(tail="N1", delay_seconds=120)
    assert event.data == app.upcast(OLD[0]).data


def _raises(data: Any) -> Any:
    raise KeyError("minutes")


@pytest.mark.parametrize(
    ("upcast", "data", "said"),
    [
        (_raises, b"{}", "raised KeyError"),
        (lambda data: {"tail": object()}, b"{}", "no JSON"),
        (lambda data: data, b"{", "no JSON"),
        (lambda data: data, b"{}", "does not fit left.v3"),
    ],
)
def test_what_cannot_be_upcast_does_not_fit(upcast: Any, data: bytes, said: str) -> None:
    """An upcaster that raises, data that is no JSON before or after, and a result that the model refuses."""
    app = nerv.App("ups")
    app.event("left.v3")(Left)
    app.upcaster("left.v2", to="left.v3")(upcast)
    with pytest.raises(SchemaMismatch, match=said):
        app.decode(left("left.v2", data))


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("left.v1", "left.v2")], "not declared: left.v1 -> left.v2;"),
        ([("left.v1", "left.v2"), ("left.v2", "left.v1")], "circle: left.v1 -> left.v2 -> left.v1"),
        ([("left.v3", "left.v3")], "circle: left.v3 -> left.v3"),
        ([("left.v1", "left.v2"), ("left.v2", "left.v9")], "left.v1 -> left.v2 -> left.v9"),
    ],
)
def test_gaps_and_circles_are_refused(pairs: list[tuple[str, str]], said: str) -> None:
    """The whole chain is named."""
    app = nerv.App("ups")
    app.event("left.v3")(Left)
    for source, target in pairs:
        app.upcaster(source, to=target)(lambda data: data)
    with pytest.raises(Misconfigured, match=said):
        app.check()


def test_two_ways_from_one_type_are_refused() -> None:
    """At once, where the second is declared."""
    with pytest.raises(Misconfigured, match=r"upcaster from 'left\.v1' twice"):
        made().upcaster("left.v1", to="left.v3")(lambda data: data)


def test_who_names_a_type_that_is_never_read_is_refused() -> None:
    """A projection or a reaction of an older type would never see an event."""
    app = made()
    app.event("left.v1", topic="ups.left.v1")(Left)
    app.projection("old", on=["left.v1"])(total)
    with pytest.raises(Misconfigured, match=r"projection old names left\.v1, which is read as left\.v3"):
        app.check()
    other = made()
    other.event("left.v1", topic="ups.left.v1")(Left)
    other.on("left.v1")(lambda event: None)
    with pytest.raises(Misconfigured, match="reaction"):
        other.check()
