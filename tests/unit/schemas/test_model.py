# SPDX-License-Identifier: Apache-2.0
"""Subjects and their versions: the same schema is the same version, and a new one must suit all before it."""

from typing import Any

import orjson
import pytest

import nerv
from nerv.errors import Conflict, Invalid, TooLarge
from nerv.schemas import Compatibility, Format, Version, check_next, of_events, registered, schema_of
from nerv.schemas.model import MOST_VERSIONS
from nerv.schemas.records import from_value, to_value
from nerv.types import utc_now


def fields(**properties: Any) -> bytes:
    """An object schema with these properties, of which those with capital letters are required."""
    required = [name for name in properties if name.isupper()]
    return orjson.dumps({"type": "object", "properties": properties, "required": required})


def versions(*texts: bytes) -> list[Version]:
    """These schemas, registered one after the other."""
    made = []
    for number, text in enumerate(texts, start=1):
        made.append(Version(number, schema_of("a.b.v1", Format.JSON, text), utc_now(), "test"))
    return made


INT, TEXT = {"type": "integer"}, {"type": "string"}


def test_a_schema_is_the_same_however_it_is_written() -> None:
    """Order of keys and spaces do not make another version."""
    [known] = versions(b'{"type": "object", "required": []}')
    again = schema_of("a.b.v1", Format.JSON, b'{ "required":[], "type":"object" }')
    assert registered([known], again) == known
    assert registered([known], schema_of("a.b.v1", Format.JSON, fields(a=INT))) is None


def test_every_earlier_version_counts() -> None:
    """A field that went and comes back with another type is refused because of the version that had it."""
    known = versions(fields(a=INT), fields())
    back = schema_of("a.b.v1", Format.JSON, fields(a=TEXT))
    with pytest.raises(Conflict, match="version 1: /a") as refused:
        check_next(known, back, Compatibility.BACKWARD)
    assert [fault["version"] for fault in refused.value.errors] == [1]
    assert check_next(known, back, Compatibility.NONE) == 3


@pytest.mark.parametrize(
    ("mode", "old", "new", "fits"),
    [
        (Compatibility.BACKWARD, fields(A=INT), fields(a=INT), True),
        (Compatibility.BACKWARD, fields(), fields(A=INT), False),
        (Compatibility.FORWARD, fields(), fields(A=INT), True),
        (Compatibility.FORWARD, fields(A=INT), fields(), False),
        (Compatibility.FULL, fields(), fields(a=INT), True),
        (Compatibility.FULL, fields(), fields(A=INT), False),
        (Compatibility.FULL, fields(A=INT), fields(), False),
    ],
)
def test_the_mode_says_who_must_read_whom(mode: Compatibility, old: bytes, new: bytes, fits: bool) -> None:
    """Backward: the new one reads the old ones; forward: the other way; full: both."""
    schema = schema_of("a.b.v1", Format.JSON, new)
    if fits:
        assert check_next(versions(old), schema, mode) == 2
    else:
        with pytest.raises(Conflict, match=f"not {mode} compatible"):
            check_next(versions(old), schema, mode)


def test_bounds_hold() -> None:
    """The number of versions, and the size of one."""
    many = versions(*[fields(a=INT)] * MOST_VERSIONS)
    with pytest.raises(TooLarge, match="new event type"):
        check_next(many, schema_of("a.b.v1", Format.JSON, fields()), Compatibility.BACKWARD)
    with pytest.raises(TooLarge, match="65536"):
        schema_of("a.b.v1", Format.JSON, orjson.dumps({"title": "x" * 70_000}))
    with pytest.raises(Invalid, match="no JSON"):
        schema_of("a.b.v1", Format.JSON, b"{")


def test_a_subject_survives_its_record() -> None:
    """All versions, to the microsecond of their registration."""
    known = versions(fields(a=INT), fields(a=INT, b=TEXT))
    assert from_value(to_value("a.b.v1", known)) == ("a.b.v1", tuple(known))


def test_each_event_of_an_app_has_a_schema() -> None:
    """Under its type, as its model validates."""
    app = nerv.App("things")

    @app.event("thing.made.v1", topic="things.thing.v1")
    class Made(nerv.Event):
        size: int

    [schema] = of_events(app)
    assert schema.subject == "thing.made.v1"
    assert orjson.loads(schema.text)["required"] == ["size"]
