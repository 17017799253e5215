# SPDX-License-Identifier: Apache-2.0
"""Instants as text, as microseconds, and in events of history."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from nerv.cloudevents.proto_format import from_us, to_us
from nerv.types import Event, format_instant, parse_instant

OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
FIRST, LAST = datetime(2, 1, 1), datetime(9998, 12, 31)  # noqa: DTZ001 - Hypothesis adds the zone
INSTANTS = st.datetimes(FIRST, LAST, timezones=st.just(UTC) | OFFSETS)


@given(INSTANTS)
def test_text_is_rfc_3339_in_utc_with_fixed_width_and_comes_back(instant: datetime) -> None:
    """Whatever the offset, and before 1970 too."""
    utc = instant.astimezone(UTC)
    text = format_instant(instant)
    assert text == f"{utc.year:04d}-{utc:%m-%dT%H:%M:%S.%f}Z"
    assert parse_instant(text) == instant


@given(INSTANTS, INSTANTS)
def test_texts_sort_as_instants_do(one: datetime, other: datetime) -> None:
    """So that they can be compared without being read."""
    assert (format_instant(one) < format_instant(other)) == (one < other)


@given(INSTANTS)
def test_microseconds_are_exact(instant: datetime) -> None:
    """Back and forth."""
    assert to_us(instant) == (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert from_us(to_us(instant)) == instant


@given(st.builds(Event[bytes], *[st.text()] * 3, INSTANTS, st.binary(), *[st.none() | st.text()] * 1))
def test_copies_of_an_event_differ_only_in_what_is_added(event: Event[bytes]) -> None:
    """By history its stream, version and recorded instant; by a trace its context."""
    whole = replace(event, correlation_id="c", causation_id="d", dataschema="s", content_type="t", partition_key="p")
    whole = replace(whole, traceparent="a", tracestate="b")
    instant = from_us(5)
    recorded = replace(whole, subject="stream", sequence=7, recorded_time=instant)
    assert whole.recorded("stream", 7, instant) == recorded
    sent = replace(recorded, via="v")
    assert sent.traced("x", "y") == replace(sent, traceparent="x", tracestate="y")
