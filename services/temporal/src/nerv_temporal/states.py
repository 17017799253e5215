# SPDX-License-Identifier: Apache-2.0
"""The state of a stream at any version and instant, folded from the nearest snapshot. Without snapshots: the same answer."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from heapq import merge
from typing import Any

import structlog

from nerv.api.event.v1 import event_pb2
from nerv.app import App, ProjectionSpec
from nerv.cloudevents.proto_format import to_us
from nerv.errors import NervError, NotFound, SchemaMismatch
from nerv.history.snapshots import DEFAULT, Replay
from nerv.projections import Projection
from nerv.protocols import ReadQuery
from nerv.types import category_of, format_instant
from nerv_temporal.index import Index
from nerv_temporal.index.snapshots import Snapshot, fold_id
from nerv_temporal.reads import check_exists, first_recorded

BREATH = 200  # events folded before the loop may do something else
BEFORE = Snapshot(time_us=-(2**63), version=0, highest=0, events=0, resume=0, latest_us=-(2**63), state=b"null")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StateQuery:
    """Which state of a stream: by version, by valid time (`as_of`), by recorded time (`known_at`).

    With `deleted`, also of a stream that was deleted or tombstoned.
    """

    projection: str | None = None
    version: int | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None
    deleted: bool = False


def projection_for(app: App, stream: str, name: str | None) -> ProjectionSpec:
    """The projection that folds a stream's state: the one named, or the one of the stream's category."""
    if name is not None:
        if name not in app.projections:
            raise NotFound(f"app {app.name} has no projection {name}; it has {', '.join(app.projections) or 'none'}")
        return app.projections[name]
    category = category_of(stream)
    found = [p for p in app.projections.values() if p.category == category]
    if len(found) == 1:
        return found[0]
    choices = ", ".join(p.name for p in found or app.projections.values()) or "none"
    raise NotFound(f"say which projection folds {stream} (projection=...): {choices}")


async def state_of(index: Index, app: App, stream: str, query: StateQuery) -> dict[str, Any]:
    """The state of a stream as the query asks, JSON-able through the state's own type by the caller.

    Valid time folds by (time, version), everything else version by version. All bounds hold together. Raises NotFound,
    Gone, and SchemaMismatch for an event that today's app cannot fold.
    """
    check_exists(index, stream, ReadQuery(as_of=query.as_of, known_at=query.known_at, deleted=query.deleted))
    top = index.version(stream)
    projection = _projection(app, projection_for(app, stream, query.projection).name, category_of(stream))
    bound = top if query.version is None else min(query.version, top)
    if query.known_at is not None:
        bound = min(bound, first_recorded(index, stream, to_us(query.known_at) + 1) - 1)
    fold = _Fold(index, projection, stream, bound)
    await fold.run(None if query.as_of is None else to_us(query.as_of))
    return {
        "stream": stream,
        "projection": projection.name,
        "version": fold.at.highest,
        "events": fold.at.events,
        "as_of": format_instant(query.as_of) if query.as_of else None,
        "known_at": format_instant(query.known_at) if query.known_at else None,
        "state": fold.state,
    }


@lru_cache(maxsize=1024)
def _projection(app: App, name: str, category: str) -> Projection[Any]:
    # By category, too: a projection that is named may fold streams of another category, which has its own policy.
    projection: Projection[Any] = Projection(app, app.projections[name])
    projection.snapshots = app.snapshot_policy(category) or DEFAULT
    return projection


class _Fold:
    """One fold, from a snapshot on. The events that it goes through are those up to version `bound` as it began."""

    def __init__(self, index: Index, projection: Projection[Any], stream: str, bound: int) -> None:
        self._index = index
        self._projection = projection
        self._stream = stream
        self._bound = bound
        self._id = fold_id(projection.name, projection.fingerprint)
        self._replay = Replay(projection.snapshots or DEFAULT)
        self._by_time = False
        self.at = BEFORE
        self.state: Any = None

    async def run(self, as_of_us: int | None) -> None:
        """Fold what there is; then `state` is the state, and `at` says where it stands."""
        self._by_time = as_of_us is not None
        self._begin(as_of_us)
        ordered = _InOrder(self._index, self._stream, self.at, self._bound, self._replay)
        events = self._by_version() if as_of_us is None else _by_time(self._index, self._stream, ordered, as_of_us)
        for number, event in enumerate(events, 1):
            self._step(event, ordered)
            if self._replay.due():
                self._keep()
            if number % BREATH == 0:
                self._replay.pause()
                await asyncio.sleep(0)
                self._replay.resume()
        if self._by_time and self._replay.due():  # many that were late were gone through behind the last one folded
            self.at = replace(self.at, resume=ordered.resume, latest_us=ordered.latest_us)
            self._keep()

    def _by_version(self) -> Iterator[event_pb2.Event]:
        return self._index.events(self._stream, self.at.version + 1, self._bound, backward=False)

    def _begin(self, as_of_us: int | None) -> None:
        snapshots = self._index.snapshots
        found = (
            snapshots.by_version(self._stream, self._id, self._bound)
            if as_of_us is None
            else snapshots.by_time(self._stream, self._id, as_of_us, self._bound)
        )
        if found is None:
            return
        try:
            self.state = self._projection.load(found.state)
        except Exception as error:  # the app's own type may raise anything
            log.warning("snapshot.unreadable", stream=self._stream, projection=self._projection.name, error=str(error))
            return
        self.at = found

    def _step(self, event: event_pb2.Event, ordered: "_InOrder") -> None:
        projection, version = self._projection, event.sequence
        if event.type in projection.types:
            try:
                self.state = projection.function(self.state, projection.decode(event))
            except NervError:
                raise
            except Exception as error:  # the app's code
                raise SchemaMismatch(
                    f"the fold of {projection.name} fails at {self._stream} version {version}: "
                    f"{type(error).__name__}: {error}"
                ) from error
        self._replay.add(len(event.data))
        at = self.at
        resume, latest = (ordered.resume, ordered.latest_us) if self._by_time else (version, event.time_us)
        self.at = Snapshot(event.time_us, version, max(at.highest, version), at.events + 1, resume, latest, b"")

    def _keep(self) -> None:
        """Have the state kept, by the loop when it comes to it."""
        written = self._projection.dump(self.state)
        if not self._replay.keeps(written):
            return
        asyncio.get_running_loop().call_soon(self._save, replace(self.at, state=written))

    def _save(self, kept: Snapshot) -> None:
        if self._by_time and self._index.stream(self._stream).late > self._bound:
            return  # an event behind the bound happened before others: it may belong into this state
        self._index.snapshots.save(self._stream, self._id, kept, by_time=self._by_time)


class _InOrder:
    """The events that were not late, in order of version, which is that of their times. It knows how far it has looked."""

    def __init__(self, index: Index, stream: str, start: Snapshot, bound: int, replay: Replay) -> None:
        self._replay = replay
        self._events = index.events(stream, start.resume + 1, bound, backward=False)
        self.bound = bound
        self.start = start
        self.resume = start.resume  # all up to here have been given out, or were late
        self.latest_us = start.latest_us

    def __iter__(self) -> Iterator[event_pb2.Event]:
        for event in self._events:
            version, time_us = event.sequence, event.time_us
            if time_us < self.latest_us:
                self._replay.add(len(event.data))  # it was late, and comes by its time; but it was gone through
            elif (time_us, version) > (self.start.time_us, self.start.version):
                self.resume = version - 1
                yield event
            self.resume, self.latest_us = version, max(time_us, self.latest_us)


def _by_time(index: Index, stream: str, ordered: _InOrder, as_of_us: int) -> Iterator[event_pb2.Event]:
    """The events after a snapshot and up to an instant, by (time, version)."""
    late = _late(index, stream, ordered, as_of_us)
    key: Callable[[event_pb2.Event], tuple[int, int]] = _order
    for event in merge(ordered, late, key=key):
        if event.time_us > as_of_us:
            return
        yield event


def _late(index: Index, stream: str, ordered: _InOrder, as_of_us: int) -> Iterator[event_pb2.Event]:
    start = ordered.start
    for version in index.late(stream, (start.time_us, start.version), as_of_us):
        if version <= ordered.bound:
            event = index.event(stream, version)
            if event is not None:
                yield event


def _order(event: event_pb2.Event) -> tuple[int, int]:
    return event.time_us, event.sequence
