# SPDX-License-Identifier: Apache-2.0
"""Records as they come in and go out: events of history, rekeyed events with their origin, dead letters."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from nerv.cloudevents import from_record
from nerv.errors import Invalid
from nerv.kafka import Outgoing, Received
from nerv.telemetry import Carrier, carrier, contexts_of, span
from nerv.telemetry import names as n
from nerv.types import Event

EPOCH: Final = "nerv_epoch"
ORIGIN: Final = "nerv_origin"  # <partition of history>:<position>
TRACE: Final = ("traceparent", "tracestate")

DEAD_CAUSE: Final = "nerv_deadletter_cause"
DEAD_ORIGIN: Final = "nerv_deadletter_origin"  # <topic>/<partition>/<offset>
DEAD_ATTEMPT: Final = "nerv_deadletter_attempt"
DEAD_BY: Final = "nerv_deadletter_by"

Header = tuple[str, bytes]


# Plain tuples: one is made for each record of each hop, and a NamedTuple takes three times as long.
Sourced = tuple[Event[bytes], Received]
"""An event, and the record that it came in."""

Origin = tuple[str, int, int]
"""The epoch that rekeyed a record; from which partition of history; from which position (`model.origin_position`)."""


def where(record: Received) -> str:
    """`topic/partition/offset`."""
    return f"{record.topic()}/{record.partition()}/{record.offset()}"


def parse(record: Received) -> Event[bytes]:
    """The event in a record. Raises Invalid."""
    # Only a record of a bare client needs its origin as an id, and no such record is in the mesh's own topics.
    return from_record(record.headers(), record.value(), origin="history", timestamp_ms=record.timestamp()[1])


def rekeyed(topic: str, key: str, source: Sourced, origin: Origin, trace: Carrier | None) -> Outgoing:
    """The record of an event under one of a projection's keys; `trace` replaces the trace context it came with."""
    record, (epoch, partition, position) = source[1], origin
    headers: list[Header] = list(record.headers() or [])  # a copy: the record keeps its list, and has more keys
    if trace is not None:
        values = zip(TRACE, trace, strict=True)
        headers = [header for header in headers if header[0] not in TRACE]
        headers += [(name, value.encode()) for name, value in values if value is not None]
    headers += [(EPOCH, epoch.encode()), (ORIGIN, b"%d:%d" % (partition, position))]
    return Outgoing(topic, record.value(), key.encode(), headers)


def origin_of(record: Received) -> Origin:
    """Where a rekeyed record comes from. Raises Invalid for a record that no rekeyer wrote."""
    # The rekeyer adds them last, so that the others need not be looked at: a fold reads every record.
    headers = record.headers() or []
    (epoch_name, epoch), (origin_name, origin) = headers[-2:] if len(headers) > 1 else (("", b""), ("", b""))
    if epoch_name != EPOCH or origin_name != ORIGIN or record.key() is None:
        raise Invalid("this record was not rekeyed by the mesh")
    partition, _, position = origin.partition(b":")
    return epoch.decode("utf-8", "replace"), int(partition), int(position)


def dead_letter(topic: str, record: Received, cause: str, by: str) -> Outgoing:
    """The record of what could not be processed: the original bytes, and beside its own headers why, where and by whom."""
    headers: Sequence[Header] = [
        *(record.headers() or []),
        (DEAD_CAUSE, cause.encode("utf-8", "replace")),
        (DEAD_ORIGIN, where(record).encode()),
        (DEAD_ATTEMPT, b"1"),  # folds and key rules are pure: another attempt would fail in the same way
        (DEAD_BY, by.encode()),
    ]
    return Outgoing(topic, record.value(), record.key(), headers)


@contextmanager
def process_spans(
    topic: str, group: str, projection: str, events: Iterable[Event[bytes]]
) -> Iterator[dict[Carrier, Carrier]]:
    """A `process` span in each distinct trace of a batch; answers the context to pass on for each that came in."""
    with ExitStack() as stack:
        passed: dict[Carrier, Carrier] = {}
        for parent, count in contexts_of(Carrier(e.traceparent, e.tracestate) for e in events):
            attributes: dict[str, AttributeValue] = {
                n.SYSTEM: n.KAFKA,
                n.OPERATION_NAME: "process",
                n.OPERATION_TYPE: "process",
                n.DESTINATION: topic,
                n.GROUP: group,
                n.BATCH_COUNT: count,
                n.PROJECTION: projection,
            }
            stack.enter_context(span(f"process {topic}", SpanKind.CONSUMER, parent=parent, attributes=attributes))
            passed[parent] = carrier()
        yield passed
