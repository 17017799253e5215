# SPDX-License-Identifier: Apache-2.0
"""The whole of history through today's upcasters, models and folds: what would fail, before anything is deployed."""

import sqlite3
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nerv.app import App
from nerv.errors import NervError
from nerv.model import EventModel
from nerv.projections import Projection
from nerv.types import Description, Event

LIVE = 10_000  # states in memory; the others are written to a file that is deleted at the end
FAULTS = 1000  # that are kept; all are counted


@dataclass(frozen=True, slots=True)
class Fault:
    """An event that today's app cannot read, or a state of `projection` that it cannot fold or write."""

    stream: str
    version: int
    type: str
    projection: str | None
    error: str


@dataclass(slots=True)
class Report:
    """What became of the events. `unread` counts those of types that the app does not know, which every fold passes over."""

    events: int = 0
    folded: int = 0
    failed: int = 0
    faults: list[Fault] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)

    def add(self, fault: Fault) -> None:
        """One more that fails."""
        self.failed += 1
        if len(self.faults) < FAULTS:
            self.faults.append(fault)


class Verification:
    """Takes events of many streams, those of each in order of version. Use as a context manager.

    Every projection folds what it would fold. Where a fold has failed, the rest of that state is left alone: what would come
    of it says nothing.
    """

    def __init__(self, app: App) -> None:
        self.report = Report()
        self._app = app
        self._projections: list[Projection[Any]] = [Projection(app, spec) for spec in app.projections.values()]
        self._states = _States()
        self._failed: set[tuple[str, str]] = set()

    def __enter__(self) -> "Verification":
        return self

    def __exit__(self, *error: object) -> None:
        self._states.close()

    def take(self, event: Event[bytes]) -> None:
        """Read and fold one event."""
        self.report.events += 1
        if not self._app.knows(event.type):
            self.report.unread[event.type] = self.report.unread.get(event.type, 0) + 1
            return
        try:
            decoded = self._app.decode(event)
        except NervError as error:
            self._fault(event, None, error.detail)
            return
        for projection in self._projections:
            for key in self._keys(projection, event):
                self._fold(projection, key, event, decoded)

    def finish(self) -> Report:
        """Write the states that are left, and say what there is to say."""
        for (name, key), (projection, state, event) in self._states.live():
            if (name, key) not in self._failed:
                self._dump(projection, state, event)
        return self.report

    def describe(self) -> Description:
        """The verification as data."""
        report = self.report
        counters = {"events": report.events, "folded": report.folded, "failed": report.failed}
        return Description("Verification", self._app.name, tuple(p.name for p in self._projections), counters=counters)

    def _keys(self, projection: Projection[Any], event: Event[bytes]) -> tuple[str, ...]:
        try:
            return projection.keys(event)
        except Exception as error:  # the app's code
            self._fault(event, projection.name, f"its key: {_said(error)}")
            return ()

    def _fold(self, projection: Projection[Any], key: str, event: Event[bytes], decoded: EventModel) -> None:
        place = projection.name, key
        if place in self._failed:
            return
        try:
            state = projection.function(self._states.take(place, projection), decoded)
        except Exception as error:  # the app's code
            self._failed.add(place)
            self._fault(event, projection.name, _said(error))
            return
        self.report.folded += 1
        spilled = self._states.put(place, (projection, state, event))
        if spilled is not None:
            self._spill(*spilled)

    def _spill(self, place: tuple[str, str], held: "_Held") -> None:
        written = self._dump(*held)
        if written is None:
            self._failed.add(place)
        else:
            self._states.write(place, written)

    def _dump(self, projection: Projection[Any], state: Any, event: Event[bytes]) -> bytes | None:
        try:
            with warnings.catch_warnings(action="ignore"):  # what pydantic only warns of does not come back
                written = projection.dump(state)
            projection.load(written)
        except Exception as error:  # the app's state is not of its own type
            self._fault(event, projection.name, f"its state cannot be written and read again: {_said(error)}")
            return None
        return written

    def _fault(self, event: Event[bytes], projection: str | None, said: str) -> None:
        self.report.add(Fault(event.stream, event.sequence or 0, event.type, projection, said))


_Held = tuple[Projection[Any], Any, Event[bytes]]


class _States:
    """The states by projection and key: the latest in memory, the others in a temporary file."""

    def __init__(self) -> None:
        self._live: OrderedDict[tuple[str, str], _Held] = OrderedDict()
        self._db = sqlite3.connect("")  # a file that nobody else sees, and that goes with its connection
        self._db.execute("CREATE TABLE states (projection, key, state, PRIMARY KEY (projection, key)) WITHOUT ROWID")

    def close(self) -> None:
        self._db.close()

    def take(self, place: tuple[str, str], projection: Projection[Any]) -> Any:
        held = self._live.get(place)
        if held is not None:
            self._live.move_to_end(place)
            return held[1]
        row = self._db.execute("SELECT state FROM states WHERE projection = ? AND key = ?", place).fetchone()
        return None if row is None else projection.load(row[0])

    def put(self, place: tuple[str, str], held: _Held) -> tuple[tuple[str, str], _Held] | None:
        self._live[place] = held
        return self._live.popitem(last=False) if len(self._live) > LIVE else None

    def write(self, place: tuple[str, str], state: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", (*place, state))

    def live(self) -> Iterator[tuple[tuple[str, str], _Held]]:
        yield from self._live.items()


def _said(error: Exception) -> str:
    return error.detail if isinstance(error, NervError) else f"{type(error).__name__}: {error}"
