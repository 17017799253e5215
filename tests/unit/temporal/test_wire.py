# SPDX-License-Identifier: Apache-2.0
"""What the door of history lets in is read back from its record as it was, by every replica and every reader."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nerv.api.event.v1 import event_pb2
from nerv.api.history.v1 import history_pb2
from nerv.app import App
from nerv.cloudevents import from_record, to_json_line
from nerv.errors import Invalid, NervError, TooLarge
from nerv.history import content_digest
from nerv.limits import Limits
from nerv.protocols import AppendRequest
from nerv.types import Event, EventType
from nerv_temporal.index import read_row, row_of
from nerv_temporal.model import Stored
from nerv_temporal.records import event_record
from nerv_temporal.wire import read_append

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
NOTED: dict[str, Any] = {
    "id": "e", "source": "test", "type": "thing.noted.v1", "time_us": 1, "data": b"{}", "content_type": "application/json",
}  # fmt: skip

words = st.text(max_size=8) | st.sampled_from(["a\nb", "a\0", " ", "\u2028", "x" * 257, *EventType])
kinds = st.sampled_from(
    [
        "",
        "application/json",
        "text/plain",
        "application/cloudevents+json",
        "application/x+json; v=1",
        "APPLICATION/JSON",
        "\n",
    ]
)


def read(**fields: Any) -> AppendRequest | NervError:
    """What becomes of an append of one event."""
    events = [event_pb2.Event(**NOTED | fields)]
    return read_append(
        history_pb2.AppendRequest(stream="thing-1", expect=history_pb2.EXPECT_ANY, events=events), App("test"), Limits()
    )


@given(
    st.fixed_dictionaries(
        {"id": words, "type": words, "data": st.binary(max_size=8) | st.sampled_from([b"[1]", b"{", b'"\xff"'])},
        optional={
            "content_type": kinds, "correlation_id": words, "causation_id": words, "dataschema": words,
            "partition_key": words, "via": words, "traceparent": words, "tracestate": words, "subject": words,
            "time_us": st.integers(-(2**63), 2**63 - 1), "sequence": st.integers(0, 2**64 - 1),
            "recorded_time_us": st.integers(-(2**63), 2**63 - 1),
        },
    )
)  # fmt: skip
@example({"content_type": ""})
@example({"content_type": "application/json", "data": b""})
def test_what_is_accepted_comes_back_as_it_was(fields: dict[str, Any]) -> None:
    """From its record, by the long way and the short one, with the same digest; and as a line of JSON."""
    found = read(**fields)
    if isinstance(found, NervError):
        assert found.detail
        return
    event: Event[bytes] = found.events[0].recorded("thing-1", 1, NOON)
    record = event_record("history", 0, event)
    again = from_record(record.headers, record.value, origin="history/0/0", timestamp_ms=0)
    assert again == event
    assert read_row(record.headers, record.value) in (None, row_of(Stored(event, content_digest(event))))
    line = orjson.loads(to_json_line(event))
    assert line["id"] == event.id


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": EventType.FENCE}, "owners"),
        ({"type": EventType.CLOSING}, "owners"),
        ({"type": EventType.ANSWERED}, "owners"),
        ({"content_type": "application/cloudevents+json"}, "event themselves"),
        ({"content_type": "Application/CloudEvents-Batch+json"}, "event themselves"),
        ({"data": b"{"}, "not JSON"),
        ({"data": b"[" * 10_000 + b"]" * 10_000}, "32 levels"),
        ({"correlation_id": "a\r\nb"}, "control"),
        ({"tracestate": "a\0"}, "control"),
        ({"causation_id": "x" * 257}, "256"),
    ],
)
def test_what_a_replica_or_a_reader_could_not_take_is_refused(fields: dict[str, Any], words: str) -> None:
    """Such an event would end every replica that meets it, for ever, or break the answer that it stands in."""
    refusal = read(**fields)
    assert isinstance(refusal, Invalid | TooLarge)
    assert words in refusal.detail


def test_data_without_a_type_of_content_are_json() -> None:
    """On every replica, whether it made the event or read it from Kafka: a repeat has the same digest at both."""
    bare, named = read(content_type=""), read()
    assert isinstance(bare, AppendRequest)
    assert isinstance(named, AppendRequest)
    assert content_digest(bare.events[0]) == content_digest(named.events[0])
    assert replace(bare.events[0]) == named.events[0]
