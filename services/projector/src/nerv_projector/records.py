# SPDX-License-Identifier: Apache-2.0
"""Records as they come in and go out: events of history, rekeyed events with their origin, dead letters."""

from collections.abc import Iterable, Sequence
from typing import Final

from nerv.cloudevents import Incoming
from nerv.errors import Invalid
from nerv.kafka import Outgoing, Received
from nerv.telemetry import Carrier

EPOCH: Final = "nerv_epoch"
ORIGIN: Final = "nerv_origin"  # <partition of history>:<position>
TRACE: Final = ("traceparent", "tracestate")

Header = tuple[str, bytes]


# Plain tuples: one is made for each record of each hop, and a NamedTuple takes three times as long.
Sourced = tuple[Incoming, Received]
"""An event, and the record that it came in."""

Origin = tuple[str, int, int]
"""The epoch that rekeyed a record; the number of the partition that it comes from (`sources.Sources`); the position there
(`model.origin_position`)."""


def parse(record: Received) -> Incoming:
    """The event in a record. Raises Invalid."""
    # Only a record of a bare client needs its origin as an id, and no such record is in the mesh's own topics.
    return Incoming(record.headers(), record.value(), "history", record.timestamp()[1])


def with_context(groups: Iterable[Sequence[Sourced]]) -> Iterable[Sourced]:
    """Those that came with a trace context; looked for when they are asked for, for that takes a while."""
    return (source for sources in groups for source in sources if source[0].traceparent is not None)


def rekeyed(topic: str, key: str, source: Sourced, origin: Origin, trace: Carrier | None) -> Outgoing:
    """The record of an event under one of a projection's keys; `trace` replaces the trace context it came with."""
    (event, record), (epoch, partition, position) = source, origin
    headers: list[Header] = [(name, value) for name, value in event.headers.items() if value is not None]
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
