# SPDX-License-Identifier: Apache-2.0
"""An event as the index keeps it, made from an `Event`, or straight from the headers and the value of its record.

A rebuild does little else than the latter. It takes what owners write, as they write it; everything else is for `records.parse`
to judge.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from nerv.api.event.v1 import event_pb2
from nerv.cloudevents import to_proto
from nerv.cloudevents.kafka_binding import STRUCTURED
from nerv.cloudevents.proto_format import to_us
from nerv.history.decide import digest_of
from nerv.types import EventType
from nerv.types.event import JSON
from nerv_temporal.index.keys import chain_of
from nerv_temporal.model import Stored

SECONDS = 4096  # whose microseconds are kept: neighbouring events have happened, and were recorded, close together
_INTERNAL = frozenset(str(kind).encode() for kind in (EventType.FENCE, EventType.CLOSING, EventType.ANSWERED))
_JSON, _STRUCTURED = JSON.encode(), STRUCTURED.encode()
_INSTANT = 27  # characters of `2013-01-15T12:00:00.000000Z`
_FIELDS = {
    "ce_specversion": "specversion",
    "ce_id": "id",
    "ce_source": "source",
    "ce_type": "type",
    "ce_time": "time",
    "ce_subject": "subject",
    "ce_recordedtime": "recorded",
    "ce_sequence": "sequence",
    "ce_correlationid": "correlation_id",
    "ce_causationid": "causation_id",
    "ce_dataschema": "dataschema",
    "ce_partitionkey": "partition_key",
    "ce_via": "via",
    "content-type": "content_type",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
}


class Row(NamedTuple):
    """An event, serialized, with what its keys, its digest and the facts of its stream are made of."""

    stream: bytes
    version: int
    event_id: bytes
    type: bytes
    time_us: int
    recorded_us: int
    digest: bytes
    chain: bytes
    message: bytes


def row_of(stored: Stored) -> Row:
    """The row of an event of history."""
    event, message = stored.event, to_proto(stored.event)
    return Row(
        event.stream.encode(), message.sequence, event.id.encode(), event.type.encode(), message.time_us,
        message.recorded_time_us, stored.digest, chain_of((event.correlation_id or "").encode()),
        message.SerializeToString(),
    )  # fmt: skip


def read_row(headers: Iterable[tuple[str, bytes | None]] | None, value: bytes | None) -> Row | None:
    """The row of a record, as `parse` and `row_of` would make it; None for one that is not an event as owners write it."""
    try:
        # A header that no owner writes is a KeyError, an attribute that is missing, malformed or not UTF-8 one of the others.
        return _read({_FIELDS[name]: data for name, data in headers or ()}, value or b"")
    except (KeyError, TypeError, ValueError):
        return None


def _read(found: dict[str, Any], value: bytes) -> Row | None:
    kind, content_type = found["type"], found["content_type"]
    if kind in _INTERNAL or not content_type or (content_type != _JSON and content_type.startswith(_STRUCTURED)):
        return None
    if None in found.values():
        return None
    del found["specversion"]
    time_us, recorded_us = _microseconds(found.pop("time")), _microseconds(found.pop("recorded"))
    version = _number(found.pop("sequence"))
    get = found.get
    head = b"%b\0%b\0%d\0%b\0%b\0%b\0%b" % (
        found["source"], kind, time_us, content_type,
        get("dataschema", b""), get("correlation_id", b""), get("causation_id", b""),
    )  # fmt: skip
    # protobuf takes bytes for text, too, and checks that they are UTF-8.
    message = event_pb2.Event(time_us=time_us, recorded_time_us=recorded_us, sequence=version, data=value, **found)
    return Row(
        found["subject"], version, found["id"], kind, time_us, recorded_us, digest_of(head, value),
        chain_of(get("correlation_id", b"")), message.SerializeToString(),
    )  # fmt: skip


def _microseconds(text: bytes) -> int:
    if len(text) != _INSTANT or text[19] != 46 or text[26] != 90:  # `.` and `Z`
        raise ValueError
    return _second(text[:19]) + _number(text[20:26])


@lru_cache(SECONDS)
def _second(text: bytes) -> int:
    return to_us(datetime.fromisoformat(f"{text.decode()}+00:00"))


def _number(text: bytes) -> int:
    if not text.isdigit():
        raise ValueError
    return int(text)
