# SPDX-License-Identifier: Apache-2.0
"""The event as it travels: CloudEvents 1.0 with the extensions of the mesh."""

from datetime import datetime
from typing import Generic

from nerv.types.frozen import frozen
from nerv.types.variables import T

JSON = "application/json"


@frozen
class Event(Generic[T]):
    """One fact and its envelope. On the wire `data` is bytes; decoded it is the app's model.

    `time` is when it happened (valid time), `recorded_time` when history recorded it (system time), both UTC.
    `sequence` is its version in `subject`'s stream, from 1, once it is in history. `via` names the places that bridges have
    taken it from, the first of them its origin (`nerv.bus.via`).
    """

    id: str
    source: str
    type: str
    time: datetime
    data: T
    subject: str | None = None
    recorded_time: datetime | None = None
    sequence: int | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    dataschema: str | None = None
    content_type: str = JSON
    partition_key: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    via: str | None = None

    @property
    def stream(self) -> str:
        """The stream this event is in; only events of history have one."""
        if self.subject is None:
            raise ValueError(f"event {self.id} has no subject, so it is in no stream")
        return self.subject

    def recorded(self, stream: str, version: int, instant: datetime) -> "Event[T]":
        """This event as history holds it. All by place: `dataclasses.replace` takes more than twice as long."""
        return Event(
            self.id,
            self.source,
            self.type,
            self.time,
            self.data,
            stream,
            instant,
            version,
            self.correlation_id,
            self.causation_id,
            self.dataschema,
            self.content_type,
            self.partition_key,
            self.traceparent,
            self.tracestate,
            self.via,
        )

    def traced(self, traceparent: str | None, tracestate: str | None) -> "Event[T]":
        """This event as it goes on in a trace. By place, too."""
        return Event(
            self.id,
            self.source,
            self.type,
            self.time,
            self.data,
            self.subject,
            self.recorded_time,
            self.sequence,
            self.correlation_id,
            self.causation_id,
            self.dataschema,
            self.content_type,
            self.partition_key,
            traceparent,
            tracestate,
            self.via,
        )
