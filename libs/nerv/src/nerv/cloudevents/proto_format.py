# SPDX-License-Identifier: Apache-2.0
"""Events between services and in indexes: `nerv.api.event.v1.Event`."""

from datetime import UTC, datetime, timedelta

from nerv.api.event.v1 import event_pb2
from nerv.types import Event
from nerv.types.event import JSON

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(instant: datetime) -> int:
    """Microseconds since 1970, exactly (a float would round)."""
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_us(microseconds: int) -> datetime:
    """The instant that many microseconds after 1970."""
    return _EPOCH + timedelta(0, 0, microseconds)


def to_proto(event: Event[bytes]) -> event_pb2.Event:
    """The message of an event; what is None stays at its default."""
    message = event_pb2.Event(
        id=event.id,
        source=event.source,
        type=event.type,
        time_us=to_us(event.time),
        data=event.data,
        content_type=event.content_type,
    )
    # One by one, for most are None, and to pass a default takes as long as to pass a value.
    if event.subject is not None:
        message.subject = event.subject
    if event.recorded_time is not None:
        message.recorded_time_us = to_us(event.recorded_time)
    if event.sequence is not None:
        message.sequence = event.sequence
    if event.correlation_id is not None:
        message.correlation_id = event.correlation_id
    if event.causation_id is not None:
        message.causation_id = event.causation_id
    if event.dataschema is not None:
        message.dataschema = event.dataschema
    if event.partition_key is not None:
        message.partition_key = event.partition_key
    if event.traceparent is not None:
        message.traceparent = event.traceparent
    if event.tracestate is not None:
        message.tracestate = event.tracestate
    if event.via is not None:
        message.via = event.via
    return message


def from_proto(message: event_pb2.Event) -> Event[bytes]:
    """The event of a message."""
    return Event(
        id=message.id,
        source=message.source,
        type=message.type,
        time=from_us(message.time_us),
        data=message.data,
        subject=message.subject or None,
        recorded_time=from_us(message.recorded_time_us) if message.HasField("recorded_time_us") else None,
        sequence=message.sequence or None,
        correlation_id=message.correlation_id or None,
        causation_id=message.causation_id or None,
        dataschema=message.dataschema or None,
        content_type=message.content_type or JSON,  # as Kafka's binary mode has it
        partition_key=message.partition_key or None,
        traceparent=message.traceparent or None,
        tracestate=message.tracestate or None,
        via=message.via or None,
    )
