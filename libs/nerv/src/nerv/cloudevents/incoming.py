# SPDX-License-Identifier: Apache-2.0
"""An event in a Kafka record, of whose envelope only so much is read as is asked for: most folds never ask."""

from collections.abc import Sequence

from nerv.cloudevents.kafka_binding import STRUCTURED, from_record
from nerv.errors import Invalid
from nerv.types import Event
from nerv.types.event import JSON

_STRUCTURED, _JSON = STRUCTURED.encode(), JSON.encode()


class Incoming:
    """An event over the headers and the value of a record.

    That there is an id, a source and a type is known; all else is looked at by `event`, which raises Invalid where it is
    wrong. A record in structured mode, or of a bare client, is read at once. Raises Invalid as `from_record` does.
    `id_time_chain`: id, time and correlation id as the headers have them, None where they do not. `traceparent` is that of
    the hop that wrote the record.
    """

    __slots__ = (
        "_event",
        "_origin",
        "_pairs",
        "_timestamp",
        "data",
        "id_time_chain",
        "subject",
        "traceparent",
        "type",
    )

    def __init__(
        self, headers: Sequence[tuple[str, bytes | None]] | None, value: bytes | None, origin: str, timestamp_ms: int
    ) -> None:
        # Not kept: the record has its headers anyway, and thousands of dictionaries are in no cache any more when they are read.
        found = dict(headers or ())
        self._pairs, self._origin, self._timestamp = headers, origin, timestamp_ms
        kind, subject, content = found.get("ce_type"), found.get("ce_subject"), found.get("content-type")
        name = found.get("ce_id")
        self.id_time_chain = name, found.get("ce_time"), found.get("ce_correlationid")
        traceparent = found.get("traceparent")
        self.traceparent = None if traceparent is None else traceparent.decode("utf-8", "replace")
        structured = content != _JSON and content is not None and content.startswith(_STRUCTURED)
        if kind is None or structured or name is None or found.get("ce_source") is None:
            self._event: Event[bytes] | None = from_record(
                found.items(), value, origin=origin, timestamp_ms=timestamp_ms
            )
            self.type, self.subject, self.data = self._event.type, self._event.subject, self._event.data
            return
        self._event = None
        self.data = value or b""
        try:
            self.type = kind.decode()
            self.subject = None if subject is None else subject.decode()
        except UnicodeDecodeError:
            raise Invalid(f"record {origin} has a ce_ header that is not UTF-8") from None

    @property
    def headers(self) -> dict[str, bytes | None]:
        """By name; of one that came twice, the last."""
        return dict(self._pairs or ())

    @property
    def id(self) -> str:
        """Of the event."""
        return self.event().id

    @property
    def tracestate(self) -> str | None:
        """Of the hop that wrote the record."""
        state = self.headers.get("tracestate")
        return None if state is None else state.decode("utf-8", "replace")

    @property
    def sequence(self) -> int | None:
        """Its version, of an event of history."""
        number = self.headers.get("ce_sequence")
        return int(number) if number is not None and number.isdigit() else None

    def event(self) -> Event[bytes]:
        """The event with all of its envelope."""
        if self._event is None:
            self._event = from_record(
                self.headers.items(), self.data, origin=self._origin, timestamp_ms=self._timestamp
            )
        return self._event
