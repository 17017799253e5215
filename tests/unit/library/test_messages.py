# SPDX-License-Identifier: Apache-2.0
"""Events whose data come as a protobuf message: the same model, the same checks, the same keys."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

import nerv
from nerv.api.event.v1.event_pb2 import Position
from nerv.bus import Chain, middleware
from nerv.cloudevents import Incoming, to_headers
from nerv.cloudevents.proto_format import to_proto
from nerv.documents import asyncapi
from nerv.errors import Misconfigured, SchemaMismatch
from nerv.schemas import Format, of_events, of_messages
from nerv.telemetry import Carrier
from nerv.types import Event, utc_now
from nerv_broker.middleware import Chains
from nerv_broker.model import keyed
from nerv_broker.subscriptions.choosing import Wanted, chooser

PROTO = Path(__file__).parent.parent.parent.parent / "proto"
TYPE, TOPIC = "place.found.v2", "place.found.v1"
app = nerv.App("places")


@app.event(TYPE, topic=TOPIC, key="topic", message=Position)
class Found(nerv.Event):
    """Something was found at a place."""

    topic: str
    partition: int = Field(ge=0)
    offset: int
    note: str = ""


@app.event("place.found.v1", message=Position)
class FoundBefore(nerv.Event):
    """As it was told before."""

    topic: str
    offset: int


@app.event("place.named.v1", topic=TOPIC)
class Named(nerv.Event):
    """A place got a name; in JSON alone."""

    name: str


@app.upcaster("place.found.v1", to=TYPE)
def with_partition(data: dict[str, object]) -> dict[str, object]:
    """There was but one."""
    return data | {"partition": 0}


def event(data: bytes | Position, **changes: Any) -> Event[bytes]:
    """An event that carries a message, or what claims to be one."""
    body = data if isinstance(data, bytes) else data.SerializeToString()
    made: Event[bytes] = Event("1", "test", TYPE, utc_now(), body, content_type="application/protobuf")
    return replace(made, **changes)


WHOLE = event(Position(topic="t", partition=3, offset=2**40))


@pytest.mark.parametrize(
    "envelope",
    [WHOLE, to_proto(WHOLE), Incoming(to_headers(WHOLE), WHOLE.data, "t/0/1", 1)],
    ids=["event", "message", "record"],
)
def test_a_message_is_read_as_the_model(envelope: object) -> None:
    """In whichever envelope it comes; numbers of 64 bits are numbers, and its bytes stay as they were."""
    found = app.decode(envelope)  # type: ignore[arg-type]
    assert found == Found(topic="t", partition=3, offset=2**40)
    assert found.meta.data == WHOLE.data


def test_a_field_that_holds_its_default_is_there() -> None:
    """Protobuf does not write zero and the empty text; the model has them all the same."""
    assert app.decode(event(Position())) == Found(topic="", partition=0, offset=0)


@pytest.mark.parametrize(
    ("refused", "path", "words"),
    [
        (event(Position(topic="t", partition=-1)), "/partition", "greater than or equal to 0"),
        (event(b"\xff\xff no message"), "/", "nerv.api.event.v1.Position"),
        (event(b'{"topic": "t"}', content_type="application/json"), "/partition", "Field required"),
    ],
    ids=["value", "bytes", "json"],
)
def test_what_does_not_fit_is_refused_with_its_path(refused: Event[bytes], path: str, words: str) -> None:
    """At the door and wherever it is read: JSON or protobuf makes no difference."""
    with pytest.raises(SchemaMismatch, match=words) as caught:
        app.decode(refused)
    assert caught.value.errors[0]["path"] == path
    with pytest.raises(SchemaMismatch, match=words):
        keyed(Chain().run(TOPIC, [refused]), app, Carrier())


def test_a_message_nobody_declared_is_refused_with_what_to_do() -> None:
    """Not as JSON that is broken."""
    with pytest.raises(SchemaMismatch, match="declared without a message; send JSON, or declare it"):
        app.decode(event(b"\x0a\x01x", type="place.named.v1"))


def test_the_key_is_the_field_of_the_message() -> None:
    """And what goes to Kafka are the bytes that came."""
    [row] = keyed(Chain().run(TOPIC, [WHOLE]), app, Carrier())
    assert (row.key, row.event.data) == (b"t", WHOLE.data)


def test_an_older_message_is_brought_up_to_date() -> None:
    """Upcasters get JSON, however the event was written."""
    old = event(Position(topic="t", offset=4), type="place.found.v1")
    assert app.decode(old) == Found(topic="t", partition=0, offset=4)


def test_middleware_and_choices_see_its_fields() -> None:
    """What a step changes is JSON from there on; what none changes stays as it was."""
    redacting = nerv.App("redacting")
    redacting.events.update(app.events)
    redacting.use(middleware.redact("note"), topic=TOPIC, way="subscribe")
    redacting.use(middleware.redact("topic"), topic="other", way="subscribe")
    chains = Chains(redacting, 10)
    [hidden], [same] = chains.delivered("other", [WHOLE]), chains.delivered("nowhere", [WHOLE])
    assert hidden.event is not None
    assert same.event is not None
    assert (hidden.event.content_type, app.decode(hidden.event)) == (
        "application/json",
        Found(topic="***", partition=3, offset=2**40),
    )
    assert same.event is WHOLE
    [unread] = chains.delivered("other", [event(b"\xff\xff")])
    assert unread.error is not None, "nobody knows what it holds"
    assert chooser(Wanted(where="partition == `3`"), chains.as_json)(WHOLE)
    assert not chooser(Wanted(where="partition == `4`"), chains.as_json)(WHOLE)


def test_a_message_must_have_what_the_model_needs() -> None:
    """Said where it is declared, not by the first event."""
    with pytest.raises(Misconfigured, match="Position has no name, which Named needs"):
        nerv.App("broken").event("a.b.v1", message=Position)(Named)


def test_its_schema_is_registered_beside_the_model_s() -> None:
    """By the full name of the message, once for two types; the document of the app names it."""
    subjects = [(schema.subject, schema.format) for schema in of_events(app)]
    assert sorted(subjects) == [
        (Position.DESCRIPTOR.full_name, Format.PROTOBUF),
        ("place.found.v1", Format.JSON),
        ("place.found.v2", Format.JSON),
        ("place.named.v1", Format.JSON),
    ]
    assert asyncapi(app)["components"]["messages"][TYPE]["x-protobuf-message"] == "nerv.api.event.v1.Position"


def test_every_message_under_proto_is_a_schema() -> None:
    """Read from the .proto files themselves, so that none is forgotten."""
    wanted = set()
    for path in PROTO.glob("nerv/**/*.proto"):
        text = path.read_text()
        [package] = re.findall(r"^package (.*);", text, re.MULTILINE)
        wanted |= {f"{package}.{name}" for name in re.findall(r"^message (\w+)", text, re.MULTILINE)}
    assert {schema.subject for schema in of_messages()} == wanted
