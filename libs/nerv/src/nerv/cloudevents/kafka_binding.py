# SPDX-License-Identifier: Apache-2.0
"""CloudEvents on Kafka, binary mode: attributes as `ce_` headers, data as the value."""

from collections.abc import Iterable
from datetime import UTC, datetime

from nerv.cloudevents.json_format import from_structured
from nerv.errors import Invalid
from nerv.types import Event, parse_instant

Header = tuple[str, bytes]

STRUCTURED = "application/cloudevents+json"

# A record of a bare Kafka client has no type of its own.
BARE_RECORD = "kafka.record"


def to_headers(event: Event[bytes]) -> list[Header]:
    """Every attribute that is set, as Kafka headers."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.id.encode()),
        ("ce_source", event.source.encode()),
        ("ce_type", event.type.encode()),
        ("ce_time", _instant(event.time)),
        ("content-type", event.content_type.encode()),
    ]
    if event.subject is not None:
        headers.append(("ce_subject", event.subject.encode()))
    if event.recorded_time is not None:
        headers.append(("ce_recordedtime", _instant(event.recorded_time)))
    if event.sequence is not None:
        headers.append(("ce_sequence", str(event.sequence).encode()))
    for name, value in (
        ("ce_correlationid", event.correlation_id),
        ("ce_causationid", event.causation_id),
        ("ce_dataschema", event.dataschema),
        ("ce_partitionkey", event.partition_key),
        ("traceparent", event.traceparent),
        ("tracestate", event.tracestate),
    ):
        if value is not None:
            headers.append((name, value.encode()))
    return headers


def _instant(instant: datetime) -> bytes:
    # isoformat is three times as fast as strftime; the offset is known to be UTC here.
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:26].encode() + b"Z"


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
    if not value.isdigit():
        raise Invalid(f"record {origin} has a ce_sequence that is not a whole number")
    return int(value)


def _from_ms(timestamp_ms: int) -> datetime:
    return datetime.fromtimestamp(max(timestamp_ms, 0) / 1000, UTC)
