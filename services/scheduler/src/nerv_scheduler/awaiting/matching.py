# SPDX-License-Identifier: Apache-2.0
"""Which records some run may wait for, and by which key those runs are found. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from nerv.app import App
from nerv.cloudevents.incoming import Incoming
from nerv.errors import Invalid, SchemaMismatch
from nerv.kafka import Received
from nerv.types import Event, format_instant
from nerv_scheduler.controls import field_of
from nerv_scheduler.waiting import key_of


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event that came on a topic, the keys of the waits that it is for, and when it was written (milliseconds)."""

    event: Mapping[str, Any]
    keys: tuple[str, ...]
    written_ms: int


class Matching:
    """What the workflows of an app await: of each event type, the fields by which it is found."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._fields: dict[str, set[str]] = {}
        for spec in app.workflow_versions.values():  # runs of earlier versions go on waiting
            for kind, field in spec.awaits.items():
                self._fields.setdefault(kind, set()).add(field)

    @property
    def topics(self) -> list[str]:
        """The topics that events of these types stand in."""
        found = {self._app.events[kind].topic for kind in self._fields}
        return sorted(topic for topic in found if topic is not None)

    def topic_of(self, kind: str) -> str | None:
        """The topic of an event type."""
        spec = self._app.events.get(kind)
        return None if spec is None else spec.topic

    def arrived(self, records: Sequence[Received]) -> list[Arrived]:
        """Those records that runs may wait for, in order. What is no event is passed over: who reads the topic judges it."""
        found = []
        for record in records:
            try:
                if (one := self._arrived(record)) is not None:
                    found.append(one)
            except (Invalid, SchemaMismatch, orjson.JSONDecodeError):
                continue
        return found

    def _arrived(self, record: Received) -> Arrived | None:
        origin = f"{record.topic()}/{record.partition()}/{record.offset()}"
        written = record.timestamp()[1]
        incoming = Incoming(record.headers(), record.value(), origin, written)
        if self._app.latest(incoming.type) not in self._fields:
            return None
        event = self._app.upcast(incoming.event())
        data = orjson.loads(event.data)
        if not isinstance(data, dict):
            return None
        values = {field: field_of(data, field) for field in self._fields[event.type]}
        keys = tuple(key_of(f"{event.type} {field}", value) for field, value in values.items() if value is not None)
        return Arrived(_document(event, data), keys, written) if keys else None


def _document(event: Event[bytes], data: Mapping[str, Any]) -> dict[str, Any]:
    about = {"id": event.id, "source": event.source, "type": event.type, "time": format_instant(event.time)}
    return about | ({"subject": event.subject} if event.subject else {}) | {"data": data}
