# SPDX-License-Identifier: Apache-2.0
"""What history says of a category: each entity's row as it stands, and the version of its stream."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from nerv.protocols import Latest
from nerv.protocols.side import Action
from nerv.sync.canonical import recanonical
from nerv.types import Event, entity_of

_WORDS = {Action.CREATE: "created", Action.UPDATE: "updated", Action.DELETE: "removed"}


def event_type(category: str, action: Action) -> str:
    """The type of the event that records a change: `<category>.created.v1`, `.updated.v1`, `.removed.v1`."""
    return f"{category}.{_WORDS[action]}.v1"


@dataclass(frozen=True, slots=True)
class Current:
    """One stream: its version, the latest time of its events, and the row as canonical JSON, None once removed."""

    version: int
    time: datetime
    content: bytes | None


def row_types(category: str) -> frozenset[str]:
    """The types of the events that change a row."""
    return frozenset(event_type(category, action) for action in Action)


def current_of(category: str, latest: Latest) -> Current | None:
    """What the newest event of these types says; None of a stream that does not exist."""
    if latest.time is None:
        return None
    event = latest.event
    whole = event is not None and event.type != event_type(category, Action.DELETE)
    return Current(latest.version, latest.time, recanonical(event.data) if event is not None and whole else None)


class CurrentState:
    """A fold over the events of a category. Events of other types count as versions and change no row."""

    def __init__(self, category: str) -> None:
        self._removed = event_type(category, Action.DELETE)
        self._whole = {event_type(category, Action.CREATE), event_type(category, Action.UPDATE)}
        self._entities: dict[str, Current] = {}

    @property
    def entities(self) -> Mapping[str, Current]:
        """Every entity that has a stream, removed ones among them, by key."""
        return self._entities

    def add(self, event: Event[bytes]) -> None:
        """Fold the next event; a stream's events must come in order of version."""
        key = entity_of(event.stream)
        before = self._entities.get(key)
        content = before.content if before else None
        if event.type in self._whole:
            content = recanonical(event.data)
        elif event.type == self._removed:
            content = None
        time = max(before.time, event.time) if before else event.time
        self._entities[key] = Current(event.sequence or 0, time, content)
