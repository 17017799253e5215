# SPDX-License-Identifier: Apache-2.0
"""The state projector of one process: states of a projection, kept by version, and what changes them."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

from nerv.app import App
from nerv.errors import Invalid, NotFound
from nerv.history.fold import valid_time_order
from nerv.history.store import TemporalStore
from nerv.projections.projection import Projection
from nerv.protocols import ReadQuery
from nerv.state import Delta, ProjectionCache, between
from nerv.types import Description, EntityId, Event, S, VersionedState, VersionId

CACHE = 1024  # states
CURRENT = 10_000  # streams whose latest state is at hand for the next event


@dataclass(frozen=True, slots=True)
class Changed:
    """What one event did to one state: from one version to another, because of `event`."""

    key: str
    from_version: int
    to_version: int
    delta: Delta
    event: Event[bytes]


class StateProjector(Generic[S]):
    """Folds a projection of an app over a temporal store, with the very fold that the service *projector* runs.

    The version of a state is that of the last event folded; of a rekeyed projection, whose key is not the stream's, it
    counts the events folded.
    """

    def __init__(self, app: App, projection: str, store: TemporalStore, *, cache: int = CACHE) -> None:
        if projection not in app.projections:
            raise NotFound(
                f"app {app.name} has no projection {projection}; it has {', '.join(app.projections) or 'none'}"
            )
        self.projection: Projection[S] = Projection(app, app.projections[projection])
        self._store = store
        self._cache: ProjectionCache[S | None] = ProjectionCache(cache)
        self._current: OrderedDict[str, VersionedState[S | None]] = OrderedDict()
        self._taken = self._deltas = 0

    async def state(
        self,
        key: str,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> VersionedState[S | None]:
        """The state of a key at a version, as of a valid instant, as known at a recorded one; all bounds hold together.

        Raises NotFound where the key has no event at all.
        """
        if self.projection.rekeyed:
            return await self._scanned(key, ReadQuery(as_of=as_of, known_at=known_at), version)
        stream = f"{self.projection.spec.category}-{key}"
        start = None if as_of is not None else self._cache.nearest(EntityId(stream), version)
        found = await self._store.state(
            self.projection, stream, version=version, as_of=as_of, known_at=known_at, start=start
        )
        if as_of is None and found.version:
            self._cache.put(found)
        return found

    async def deltas(self, key: str, *, after: int = 0, to: int | None = None) -> AsyncIterator[Changed]:
        """What each event of a key changed, from the one after version `after` up to `to`, in order of version."""
        before = await self.state(key, version=after) if after else None
        state = None if before is None else before.state
        async for event in self._events(key, after, to):
            new = self.projection.function(state, self.projection.decode(event))
            version = event.sequence or 0
            yield Changed(key, after, version, self._between(state, new), event)
            state, after = new, version

    async def take(self, event: Event[bytes]) -> list[Changed]:
        """Fold an event that has just been recorded: what it changed, by key. Nothing for one that was folded before.

        What lies between the last event that was taken and this one is read from the store. Raises what the fold raises.
        """
        if self.projection.rekeyed:
            raise Invalid(f"{self.projection.name} is rekeyed; in one process ask `state` for it")
        changes = []
        for key in self.projection.keys(event):
            changes += await self._take(key, event)
        return changes

    def describe(self) -> Description:
        """The projector as data."""
        counters = {"taken": self._taken, "deltas": self._deltas}
        types = tuple(sorted(self.projection.types))
        return Description(
            "StateProjector", self.projection.name, types, counters=counters, parts=(self._cache.describe(),)
        )

    async def _take(self, key: str, event: Event[bytes]) -> list[Changed]:
        stream, version = event.stream, event.sequence or 0
        current = self._current.get(stream)
        if current is not None and version <= current.version:
            return []
        self._taken += 1
        if current is None or version > current.version + 1:  # the first one, or some lie between
            at = current.version if current is not None else version - 1
            changes = [change async for change in self.deltas(key, after=at, to=version)]
            self._remember(await self.state(key, version=version))
            return changes
        new = self.projection.function(current.state, self.projection.decode(event))
        self._remember(VersionedState(current.id, VersionId(version), new, event.time, event.recorded_time))
        return [Changed(key, current.version, version, self._between(current.state, new), event)]

    def _remember(self, state: VersionedState[S | None]) -> None:
        self._cache.put(state)
        self._current[state.id] = state
        self._current.move_to_end(state.id)
        if len(self._current) > CURRENT:
            self._current.popitem(last=False)  # the next event of it is folded from the store

    async def _events(self, key: str, after: int, to: int | None) -> AsyncIterator[Event[bytes]]:
        if self.projection.rekeyed:
            raise Invalid(f"{self.projection.name} is rekeyed; its deltas are those of the service")
        stream = f"{self.projection.spec.category}-{key}"
        async for event in self._store.read(stream, ReadQuery(after + 1, to, types=self.projection.types)):
            yield event

    async def _scanned(self, key: str, query: ReadQuery, version: int | None) -> VersionedState[S | None]:
        bounds = ReadQuery(types=self.projection.types, as_of=query.as_of, known_at=query.known_at)
        found = [event async for event in self._store.read_category(None, bounds) if key in self.projection.keys(event)]
        if not found:
            raise NotFound(f"projection {self.projection.name} has nothing under {key!r}")
        found.sort(key=valid_time_order if query.as_of is not None else _recorded_order)
        state: S | None = None
        for event in found[:version]:
            state = self.projection.function(state, self.projection.decode(event))
        last = found[:version][-1] if found[:version] else None
        times = (last.time, last.recorded_time) if last is not None else (None, None)
        return VersionedState(EntityId(key), VersionId(len(found[:version])), state, *times)

    def _between(self, old: Any, new: Any) -> Delta:
        self._deltas += 1
        return between(old, new)


def _recorded_order(event: Event[bytes]) -> tuple[datetime, str, int]:
    return event.recorded_time or event.time, event.stream, event.sequence or 0
