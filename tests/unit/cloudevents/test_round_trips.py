# SPDX-License-Identifier: Apache-2.0
"""An event is the same event after a way through each of its forms."""

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv.cloudevents import from_proto, from_record, to_headers, to_proto, to_structured
from nerv.cloudevents.http_binding import BATCH, STRUCTURED, from_http
from nerv.cloudevents.json_format import from_mapping
from nerv.errors import Invalid, TooLarge
from nerv.limits import Limits
from nerv.types import Event

names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40)
maybe = st.none() | names
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
values = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | names, st.lists, max_leaves=5)
events = st.builds(
    Event[bytes],
    id=names,
    source=names,
    type=names,
    time=instants,
    data=values.map(orjson.dumps),
    subject=maybe,
    recorded_time=st.none() | instants,
    sequence=st.none() | st.integers(1, 2**63 - 1),
    correlation_id=maybe,
    causation_id=maybe,
    dataschema=maybe,
    partition_key=maybe,
    traceparent=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
)


@given(events)
def test_kafka_binary(event: Event[bytes]) -> None:
    """Headers and value hold all of it."""
    headers = [(name, value) for name, value in to_headers(event)]
    assert from_record(headers, event.data, origin="t/0/0", timestamp_ms=0) == event


@given(events)
def test_structured_json(event: Event[bytes]) -> None:
    """One JSON object holds all of it; data that is JSON stays JSON."""
    document = orjson.loads(orjson.dumps(to_structured(event)))
    again = from_mapping(document)
    if orjson.loads(event.data) is None:
        again = replace(again, data=event.data)  # JSON null as data and no data are the same in this form
    assert again == event


@given(events)
def test_protobuf(event: Event[bytes]) -> None:
    """The internal message holds all of it."""
    assert from_proto(type(to_proto(event)).FromString(to_proto(event).SerializeToString())) == event


@given(events, st.binary(max_size=50))
def test_other_data_than_json_travels_as_base64(event: Event[bytes], data: bytes) -> None:
    """Bytes of another content type are not touched."""
    event = replace(event, data=data, content_type="application/octet-stream")
    assert from_mapping(orjson.loads(orjson.dumps(to_structured(event)))) == event


@given(st.lists(events, min_size=1, max_size=5))
def test_http_batch(made: list[Event[bytes]]) -> None:
    """A batch is its events, in order."""
    body = orjson.dumps([to_structured(replace(e, data=b"1")) for e in made])
    assert from_http({"content-type": BATCH}, body, Limits()) == [replace(e, data=b"1") for e in made]


def test_a_record_of_a_bare_client_gets_an_identity() -> None:
    """Without ce_ headers its place is its id, and its time stamp its time: the same whenever it is read."""
    event = from_record([("x", b"y")], b"hello", origin="t/3/14", timestamp_ms=1_500_000_000_123)
    assert (event.id, event.source, event.type, event.data) == ("t/3/14", "kafka:t", "kafka.record", b"hello")
    assert event.time == datetime.fromtimestamp(1_500_000_000.123, UTC)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"id": "a\rb"}, "id"),
        ({"source": None}, "source"),
        ({"type": "a\x00b"}, "type"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2013-01-15T12:00:00"}, "offset"),
        ({"sequence": "-1"}, "sequence"),
        ({"data_base64": "!"}, "base64"),
        ({"data": 1, "data_base64": "AA=="}, "both"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_attribute_is_named(change: dict[str, object], words: str) -> None:
    """The error says which attribute, and no event comes of it."""
    good: dict[str, object] = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    with pytest.raises(Invalid, match=words):
        from_http({"content-type": STRUCTURED}, orjson.dumps(good | change), Limits())


def test_limits_are_checked_before_parsing() -> None:
    """Too deep, too long an id, too many events: TooLarge, with the limit in the text."""
    limits = Limits(batch=2, event=10)
    one = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": "x" * 20}
    with pytest.raises(TooLarge, match="10"):
        from_http({"content-type": STRUCTURED}, orjson.dumps(one), limits)
    with pytest.raises(TooLarge, match="2"):
        from_http({"content-type": BATCH}, orjson.dumps([one | {"data": 1}] * 3), limits)
    with pytest.raises(TooLarge, match="32"):
        from_http({"content-type": STRUCTURED}, b"[" * 100_000, limits)
    with pytest.raises(TooLarge, match="256"):
        from_http({"content-type": STRUCTURED}, orjson.dumps(one | {"id": "x" * 257, "data": 1}), limits)
