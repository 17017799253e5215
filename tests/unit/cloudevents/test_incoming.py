# SPDX-License-Identifier: Apache-2.0
"""An event whose envelope is read when it is asked for is the event that is read at once."""

import copy
import pickle
from datetime import UTC, datetime

import orjson
import pytest

import nerv
from nerv.cloudevents import Incoming, from_record, to_headers, to_structured
from nerv.errors import Invalid, SchemaMismatch
from nerv.types import Event

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = Event(
    "e1", "test", "noted.v1", NOW, b'{"n":1}', subject="note-1", recorded_time=NOW, sequence=7, traceparent="00-a"
)

app = nerv.App("test")


@app.event("noted.v1")
class Noted(nerv.Event):
    """A number."""

    n: int


def test_what_is_asked_for_is_there_before_the_rest() -> None:
    """Type, stream, data and trace are those of the event, and so is all else."""
    found = Incoming(to_headers(EVENT), EVENT.data, "t/0/1", 0)
    assert (found.type, found.subject, found.data, found.traceparent) == ("noted.v1", "note-1", b'{"n":1}', "00-a")
    assert found.event() == EVENT
    assert found.id == "e1"


@pytest.mark.parametrize(
    ("headers", "value"),
    [([], b"x"), ([("content-type", b"application/cloudevents+json")], orjson.dumps(to_structured(EVENT)))],
)
def test_records_of_other_kinds_are_read_at_once(headers: list[tuple[str, bytes]], value: bytes) -> None:
    """A bare record and one in structured mode are what `from_record` makes of them."""
    found = Incoming(headers, value, "t/0/1", 5)
    assert found.event() == from_record(headers, value, origin="t/0/1", timestamp_ms=5)
    assert found.type == found.event().type


def test_what_lacks_an_attribute_is_refused_at_once() -> None:
    """An id without a type is no event."""
    with pytest.raises(Invalid, match="lacks"):
        Incoming([("ce_id", b"1")], b"{}", "t/0/1", 0)


def test_a_decoded_event_reads_its_envelope_when_asked() -> None:
    """And keeps it through copies and pickles."""
    decoded = app.decode(Incoming(to_headers(EVENT), EVENT.data, "t/0/1", 0))
    for found in (decoded, copy.copy(decoded), copy.deepcopy(decoded), pickle.loads(pickle.dumps(decoded))):  # noqa: S301 - our own bytes
        assert found == Noted(n=1)
        assert found.meta == EVENT


def test_a_wrong_envelope_is_noticed_by_who_asks() -> None:
    """The data fits; the time is none."""
    headers = [(name, b"yesterday" if name == "ce_time" else value) for name, value in to_headers(EVENT)]
    decoded = app.decode(Incoming(headers, EVENT.data, "t/0/1", 0))
    with pytest.raises(Invalid, match="yesterday"):
        _ = decoded.meta


def test_an_event_made_in_code_has_no_envelope() -> None:
    """It says so, and so does its copy."""
    for made in (Noted(n=1), copy.copy(Noted(n=1)), pickle.loads(pickle.dumps(Noted(n=1)))):  # noqa: S301 - our own bytes
        with pytest.raises(ValueError, match="made in code"):
            _ = made.meta


def test_data_that_does_not_fit_is_refused_with_its_path() -> None:
    """Whether the envelope has been read or not."""
    with pytest.raises(SchemaMismatch, match=r"event e1 does not fit noted\.v1: /n"):
        app.decode(Incoming(to_headers(EVENT), b'{"n":"x"}', "t/0/1", 0))
