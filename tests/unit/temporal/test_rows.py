# SPDX-License-Identifier: Apache-2.0
"""The row of an event, made from its record without an `Event` in between, is the one that its `Event` gives."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nerv.cloudevents import from_record, to_headers
from nerv.history import content_digest
from nerv.kafka.owning import Fence, fence_record
from nerv.types import Event
from nerv.types.event import JSON
from nerv_temporal.index import Row, read_row, row_of
from nerv_temporal.model import Stored
from nerv_temporal.records import SOURCE

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
NOTED: Event[bytes] = Event(
    "e-1", "test", "thing.noted.v1", NOON, b'{"n":1}', subject="thing-1", recorded_time=NOON, sequence=1
)

names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)
maybe = st.none() | names
instants = st.datetimes(timezones=st.just(UTC))


@given(
    st.builds(
        Event[bytes], names, names, names, instants, st.binary(max_size=50), names, instants, st.integers(1, 2**63),
        maybe, maybe, maybe, st.sampled_from([JSON, "text/plain"]), maybe, maybe, maybe, maybe,
    )
)  # fmt: skip
@example(NOTED)
@example(replace(NOTED, time=datetime.min.replace(tzinfo=UTC), recorded_time=datetime.max.replace(tzinfo=UTC)))
@example(replace(NOTED, data=b"", correlation_id="c", causation_id="d", dataschema="s", partition_key="p"))
@example(replace(NOTED, traceparent="00-1-2-01", tracestate="a=b", content_type="application/x-protobuf"))
def test_a_row_is_what_its_event_gives(event: Event[bytes]) -> None:
    """Every attribute, the digest included, comes through the short way as through the long one."""
    assert read_row(to_headers(event), event.data) == row_of(Stored(event, content_digest(event)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("ce_time", b"2013-01-15T12:00:00.5+01:00"),
        ("ce_time", b"2013-01-15T12:00:00Z"),
        ("ce_recordedtime", b"2013-01-15t12:00:00.000000Z"),
        ("content-type", b"application/json; charset=utf-8"),
        ("x-unknown", b"1"),
    ],
)
def test_what_no_owner_writes_is_read_the_long_way_or_as_well(name: str, data: bytes) -> None:
    """An attribute in another form gives the same row by the short way, or none at all."""
    headers = [*((n, d) for n, d in to_headers(NOTED) if n != name), (name, data)]
    event = from_record(headers, NOTED.data, origin="history/0/0", timestamp_ms=0)
    assert read_row(headers, NOTED.data) in (None, row_of(Stored(event, content_digest(event))))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("ce_id", None),
        ("ce_subject", None),
        ("ce_type", None),
        ("ce_id", b"\xff"),
        ("ce_sequence", b"-1"),
        ("ce_sequence", b"1_0"),
        ("ce_sequence", b"9" * 40),
        ("ce_time", b"2013-13-15T12:00:00.000000Z"),
        ("ce_time", b"2013-01-15T12:00:00.00000xZ"),
        ("ce_recordedtime", b""),
        ("content-type", b"application/cloudevents+json"),
    ],
)
def test_what_is_malformed_has_no_row(name: str, data: bytes | None) -> None:
    """It is left for the one place that says what is wrong with a record."""
    headers = [(n, data if n == name else d) for n, d in to_headers(NOTED)]
    assert read_row(headers, NOTED.data) is None


def test_a_fence_has_no_row() -> None:
    """What owners write about themselves is no event of a stream."""
    record = fence_record("history", 0, Fence("me", "http://me", "token", "a"), NOON, SOURCE)
    assert read_row(record.headers, record.value) is None
    assert read_row(None, b"{}") is None


def test_data_that_is_missing_is_empty() -> None:
    """A record without a value is an event without data."""
    row = read_row(to_headers(replace(NOTED, data=b"")), None)
    assert isinstance(row, Row)
    assert row.message == row_of(Stored(replace(NOTED, data=b""), b"")).message
