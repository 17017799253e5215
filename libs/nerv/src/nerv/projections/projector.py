# SPDX-License-Identifier: Apache-2.0
"""The state projector of one process: states of a projection, kept by version, and what changes them."""

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Self

from nerv.app import App
from nerv.bus import EventBus, Handler, Lanes, Selector, Subscription
from nerv.errors import Invalid, NotFound
from nerv.history.fold import valid_time_order
from nerv.history.store import TemporalStore
from nerv.projections.projection import Projection
from nerv.protocols import ReadQuery
from nerv.state import Delta, ProjectionCache, between
from nerv.types import Description, EntityId, Event, EventType, S, VersionedState, VersionId

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
    counts the events folded. It is `nerv.protocols.Versioned`, and `nerv.protocols.Observable`: whoever subscribes hears of
    every change that `take` makes, as an event of type `nerv.state.changed.v1` with the state's key for its subject and a
    `Changed` for its data. Used as `async with`, it drains its subscribers at the end.
    """

    def __init__(self, app: App, projection: str, store: TemporalStore, *, cache: int = CACHE) -> None:
        if projection not in app.projections:
            raise NotFound(
                f"app {app.name} has no projection {projection}; it has {', '.join(app.projections) or 'none'}"
            )
        self.projection: Projection[S] = Projection(app, app.projections[projection])
        if self.projection.spec.topics:
            raise Invalid(f"{projection} folds topics, which are not in a store; the service folds them")
        self._store = store
        self._cache: ProjectionCache[S | None] = ProjectionCache(cache)
        self._current: OrderedDict[str, VersionedState[S | None]] = OrderedDict()
        self._taken = self._deltas = 0
        self._changes = EventBus(f"changes of {projection}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._changes.aclose()

    def subscribe(
        self,
        selector: Selector,
        handler: Handler,
        *,
        name: str | None = None,
        weak: bool = True,
        lanes: Lanes | None = None,
        replay: int | bool = False,
    ) -> Subscription:
        """Call `handler(event)` for every change that is selected (see `Observable.subscribe`)."""
        return self._changes.subscribe(selector, handler, name=name, weak=weak, lanes=lanes, replay=replay)

    def history(
        self, selector: Selector | None = None, *, since: datetime | None = None, limit: int | None = None
    ) -> list[Event[Any]]:
        """The latest changes, oldest first (see `Observable.history`); the states' whole history is `deltas`."""
        return self._changes.history(selector, since=since, limit=limit)

    async def drain(self) -> None:
        """Until every change has been handled by everybody who has lanes."""
        await self._changes.drain()

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
        if not self.projection.of_one_stream:
            return await self._scanned(key, ReadQuery(as_of=as_of, known_at=known_at), version)
        stream = f"{self.projection.spec.category}-{key}"
        start = None if as_of is not None else self._cache.nearest(EntityId(stream), version)
        found = await self._store.state(
            self.projection,
            stream,
            version=version,
            as_of=as_of,
            known_at=known_at,
            start=start,
            policy=self.projection.snapshots,
        )
        if as_of is None and found.version:
            self._cache.put(found)
        return found

    async def deltas(self, key: str, *, after: int = 0, to: int | None = None) -> AsyncIterator[Changed]:
        """What each event of a key changed, from the one after version `after` up to `to`, in order of version."""
        if not self.projection.of_one_stream:
            raise Invalid(f"{self.projection.name} is of many streams; its deltas are those of the service")
        before = await self.state(key, version=after) if after else None
        state = None if before is None else before.state
        async for event in self.events(key, after=after, to=to):
            new = self.projection.function(state, self.projection.decode(event))
            version = event.sequence or 0
            yield Changed(key, after, version, self._between(state, new), event)
            state, after = new, version

    async def events(self, key: str, *, after: int = 0, to: int | None = None) -> AsyncIterator[Event[bytes]]:
        """The events of a key that were folded, in order of version (see `Versioned.events`)."""
        if not self.projection.of_one_stream:
            found = await self._all_of(key, ReadQuery(types=self.projection.types))
            for event in sorted(found, key=_recorded_order)[after:to]:
                yield event
            return
        stream = f"{self.projection.spec.category}-{key}"
        async for event in self._store.read(stream, ReadQuery(after + 1, to, types=self.projection.types)):
            yield event

    async def take(self, event: Event[bytes]) -> list[Changed]:
        """Fold an event that has just been recorded: what it changed, by key, and tell subscribers. Nothing for one that
        was folded before.

        What lies between the last event that was taken and this one is read from the store. Raises what the fold raises;
        Overloaded where a subscriber's lane refuses, or Unavailable once it is closed: then it is folded, and nobody is told.
        """
        if not self.projection.of_one_stream:
            raise Invalid(f"{self.projection.name} is of many streams; in one process ask `state` for it")
        changes = []
        for key in self.projection.keys(event):
            changes += await self._take(key, event)
        for change in changes:
            await self._changes.publish(_told(self.projection.name, change))
        return changes

    def describe(self) -> Description:
        """The projector as data."""
        counters = {"taken": self._taken, "deltas": self._deltas}
        types = tuple(sorted(self.projection.types))
        return Description(
            "StateProjector",
            self.projection.name,
            inputs=types,
            outputs=(EventType.STATE_CHANGED.value,),
            counters=counters,
            parts=(self._cache.describe(), self._changes.describe()),
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

    async def _scanned(self, key: str, query: ReadQuery, version: int | None) -> VersionedState[S | None]:
        bounds = ReadQuery(types=self.projection.types, as_of=query.as_of, known_at=query.known_at)
        found = await self._all_of(key, bounds)
        found.sort(key=valid_time_order if query.as_of is not None else _recorded_order)
        state: S | None = None
        for event in found[:version]:
            state = self.projection.function(state, self.projection.decode(event))
        last = found[:version][-1] if found[:version] else None
        times = (last.time, last.recorded_time) if last is not None else (None, None)
        return VersionedState(EntityId(key), VersionId(len(found[:version])), state, *times)

    async def _all_of(self, key: str, query: ReadQuery) -> list[Event[bytes]]:
        found = [event async for event in self._store.read_category(None, query) if key in self.projection.keys(event)]
        if not found:
            raise NotFound(f"projection {self.projection.name} has nothing under {key!r}")
        return found

    def _between(self, old: Any, new: Any) -> Delta:
        self._deltas += 1
        return between(old, new)


def _recorded_order(event: Event[bytes]) -> tuple[datetime, str, int]:
    return event.recorded_time or event.time, event.stream, event.sequence or 0


def _told(projection: str, change: Changed) -> Event[Changed]:
    """A change as an event: it happened when the event did that made it."""
    made = change.event
    return Event(
        f"{projection}/{change.key}/{change.to_version}",
        f"nerv:{projection}",
        EventType.STATE_CHANGED.value,
        made.time,
        change,
        subject=change.key,
        correlation_id=made.correlation_id,
        causation_id=made.id,
        partition_key=change.key,
    )
