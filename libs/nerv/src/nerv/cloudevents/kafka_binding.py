# SPDX-License-Identifier: Apache-2.0
"""CloudEvents on Kafka, binary mode: attributes as `ce_` headers, data as the value."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from nerv.cloudevents.json_format import from_structured
from nerv.errors import Invalid
from nerv.types import Event, format_instant, parse_instant
from nerv.types.event import JSON

Header = tuple[str, bytes]

_VERSION: Header = ("ce_specversion", b"1.0")
_JSON: Header = ("content-type", JSON.encode())

STRUCTURED = "application/cloudevents+json"
LAST_MS = 253_402_300_799_999  # the end of the year 9999

# A record of a bare Kafka client has no type of its own.
BARE_RECORD = "kafka.record"


def to_headers(event: Event[bytes]) -> list[Header]:
    """Every attribute that is set, as Kafka headers."""
    headers = [
        _VERSION,
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.type.encode()),
        ("ce_time", format_instant(event.time).encode()),
        _JSON if event.content_type == JSON else ("content-type", event.content_type.encode()),
    ]
    if event.subject is not None:
        headers.append(("ce_subject", event.subject.encode()))
    if event.recorded_time is not None:
        headers.append(("ce_recordedtime", _recorded(event.recorded_time)))
    if event.sequence is not None:
        headers.append(("ce_sequence", b"%d" % event.sequence))
    if event.correlation_id is not None:
        headers.append(("ce_correlationid", event.correlation_id.encode()))
    if event.causation_id is not None:
        headers.append(("ce_causationid", event.causation_id.encode()))
    if event.dataschema is not None:
        headers.append(("ce_dataschema", event.dataschema.encode()))
    if event.partition_key is not None:
        headers.append(("ce_partitionkey", event.partition_key.encode()))
    if event.traceparent is not None:
        headers.append(("traceparent", event.traceparent.encode()))
    if event.tracestate is not None:
        headers.append(("tracestate", event.tracestate.encode()))
    if event.via is not None:
        headers.append(("ce_via", event.via.encode()))
    return headers


@lru_cache(16)
def _recorded(instant: datetime) -> bytes:
    return format_instant(instant).encode()  # the events of a transaction share theirs


def from_record(
    headers: Iterable[tuple[str, bytes | None]] | None,
    value: bytes | None,
    *,
    origin: str,
    timestamp_ms: int,
) -> Event[bytes]:
    """The event in a Kafka record.

    A record of a bare client, without `ce_` headers, gets `origin` (`topic/partition/offset`) as its id and the
    record's time stamp (milliseconds) as its time. Raises Invalid where `ce_` headers are there but wrong.
    """
    found = {name: data for name, data in headers or () if data is not None}
    content_type = found.get("content-type", b"").decode("utf-8", "replace")
    if content_type.startswith(STRUCTURED):
        return from_structured(value or b"")
    try:
        return _binary(found, value or b"", content_type, origin, timestamp_ms)
    except UnicodeDecodeError:
        raise Invalid(f"record {origin} has a ce_ header that is not UTF-8") from None


def _binary(found: dict[str, bytes], value: bytes, content_type: str, origin: str, timestamp_ms: int) -> Event[bytes]:
    if "ce_id" not in found:
        return _bare(found, value, content_type, origin, timestamp_ms)
    try:
        source, kind = found["ce_source"].decode(), found["ce_type"].decode()
    except KeyError as missing:
        raise Invalid(f"record {origin} has ce_id but lacks {missing.args[0]}") from None
    get = found.get
    time = get("ce_time")
    recorded = get("ce_recordedtime")
    sequence = get("ce_sequence")
    return Event(
        id=found["ce_id"].decode(),
        source=source,
        type=kind,
        time=parse_instant(time.decode(), "ce_time") if time else _from_ms(timestamp_ms),
        data=value,
        subject=_text(get("ce_subject")),
        recorded_time=parse_instant(recorded.decode(), "ce_recordedtime") if recorded else None,
        sequence=_integer(sequence, origin) if sequence else None,
        correlation_id=_text(get("ce_correlationid")),
        causation_id=_text(get("ce_causationid")),
        dataschema=_text(get("ce_dataschema")),
        content_type=content_type or "application/json",
        partition_key=_text(get("ce_partitionkey")),
        traceparent=_text(get("traceparent")),
        tracestate=_text(get("tracestate")),
        via=_text(get("ce_via")),
    )


def _bare(found: dict[str, bytes], value: bytes, content_type: str, origin: str, timestamp_ms: int) -> Event[bytes]:
    return Event(
        id=origin,
        source=f"kafka:{origin.partition('/')[0]}",
        type=BARE_RECORD,
        time=_from_ms(timestamp_ms),
        data=value,
        content_type=content_type or "application/octet-stream",
        traceparent=_text(found.get("traceparent")),
        tracestate=_text(found.get("tracestate")),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _integer(value: bytes, origin: str) -> int:
    if not value.isdigit() or len(value) > 19:
        raise Invalid(f"record {origin} has a ce_sequence that is not a whole number of at most 19 digits")
    return int(value)


def _from_ms(timestamp_ms: int) -> datetime:
    # Clients write what they like: some microseconds, whose year no calendar has.
    return datetime.fromtimestamp(min(max(timestamp_ms, 0), LAST_MS) / 1000, UTC)
