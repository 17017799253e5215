# SPDX-License-Identifier: Apache-2.0
"""What stands in the topic of history: events, fences of new owners, closings of recorded time, and how far commands are
answered. All are CloudEvents.
"""

from dataclasses import dataclass
from datetime import datetime

from nerv.api.history.v1 import history_pb2
from nerv.cloudevents import from_record, to_headers
from nerv.cloudevents.proto_format import to_us
from nerv.history import content_digest
from nerv.kafka import Outgoing, Received
from nerv.kafka.owning import Fence, fence_of
from nerv.kafka.owning.fences import PROTOBUF
from nerv.types import Event, EventType
from nerv_temporal.index import Row, read_row, row_of
from nerv_temporal.model import Stored

SOURCE = "nerv:temporal"


@dataclass(frozen=True, slots=True)
class Closing:
    """Recorded time is closed up to this instant (microseconds since 1970)."""

    known_at_us: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The commands of the partition are answered up to, but without, this offset."""

    next_command: int


Internal = Fence | Closing | Answered
Record = Event[bytes] | Internal
Written = Row | Internal  # a record as the index takes it


def event_record(topic: str, partition: int, event: Event[bytes]) -> Outgoing:
    """The record of an event of history, keyed by its stream."""
    return Outgoing(topic, event.data, event.stream.encode(), to_headers(event), partition)


def closing_record(topic: str, partition: int, known_at_us: int, now: datetime) -> Outgoing:
    """The record of a closing."""
    value = history_pb2.Closing(known_at_us=known_at_us).SerializeToString()
    return _internal(topic, partition, f"closing-{partition}-{known_at_us}", EventType.CLOSING, value, now)


def answered_record(topic: str, partition: int, next_command: int, now: datetime) -> Outgoing:
    """The record of how far commands are answered."""
    value = history_pb2.Answered(next_command=next_command).SerializeToString()
    return _internal(topic, partition, f"answered-{partition}-{next_command}", EventType.ANSWERED, value, now)


def barrier_record(topic: str, partition: int, now: datetime) -> Outgoing:
    """A record that only an owner can commit. Never an empty transaction: a fenced producer commits that "successfully"."""
    return _internal(topic, partition, f"barrier-{partition}-{to_us(now)}", "nerv.history.barrier.v1", b"", now)


def _internal(topic: str, partition: int, record_id: str, kind: str, value: bytes, now: datetime) -> Outgoing:
    event = Event(id=record_id, source=SOURCE, type=kind, time=now, data=value, content_type=PROTOBUF)
    return Outgoing(topic, value, None, to_headers(event), partition)


def read(record: Received) -> Written:
    """As `parse`, with an event as the index keeps it: made of the record itself, as owners write it."""
    row = read_row(record.headers(), record.value())
    if row is not None:
        return row
    parsed = parse(record)
    return row_of(Stored(parsed, content_digest(parsed))) if isinstance(parsed, Event) else parsed


def parse(record: Received) -> Record:
    """What a record of history says. Raises Invalid for one that no owner wrote."""
    origin = f"{record.topic()}/{record.partition()}/{record.offset()}"
    event = from_record(record.headers(), record.value(), origin=origin, timestamp_ms=record.timestamp()[1])
    if event.type == EventType.FENCE:
        return fence_of(event.data)
    if event.type == EventType.CLOSING:
        return Closing(history_pb2.Closing.FromString(event.data).known_at_us)
    if event.type == EventType.ANSWERED:
        return Answered(history_pb2.Answered.FromString(event.data).next_command)
    return event
