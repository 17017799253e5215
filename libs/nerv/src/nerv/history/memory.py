# SPDX-License-Identifier: Apache-2.0
"""History in memory: complete, for one process. Nothing survives it."""

import asyncio
import uuid
from bisect import bisect_right, insort
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

from nerv.clock import SystemClock
from nerv.errors import NotFound
from nerv.history.decide import Accept, Duplicate, Known, judge
from nerv.history.lifecycle import MARKS, Mark, gone, mark_of
from nerv.history.select import check_positions, check_subscription, named, not_future, selector
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Clock, Followed, Latest, ReadQuery
from nerv.types import Description, Event, VersionedState, category_of


class MemoryHistory:
    """`nerv.protocols.History`, `Subscribable` and `Snapshots` over dictionaries."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.log_id = uuid.uuid4().hex
        self._clock = clock or SystemClock()
        self._streams: dict[str, list[Event[bytes]]] = {}
        self._log: list[Event[bytes]] = []
        self._ids: dict[tuple[str, str], Known] = {}
        self._marks: dict[str, list[Mark]] = {}
        self._snapshots: dict[tuple[str, str], dict[int, VersionedState[bytes]]] = {}
        self._snapshot_versions: dict[tuple[str, str], list[int]] = {}
        self._last: datetime | None = None
        self._watchers: set[asyncio.Event] = set()

    def version(self, stream: str) -> int:
        """The stream's version; 0 when it does not exist."""
        return len(self._streams.get(stream, ()))

    def known(self, stream: str, event_id: str) -> Known | None:
        """The event of this id in the stream, or None."""
        return self._ids.get((stream, event_id))

    def mark(self, stream: str) -> str | None:
        """The type of the last event that deleted, reopened or tombstoned the stream, or None."""
        marks = self._marks.get(stream)
        return marks[-1].type if marks else None

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """Append to many streams, each request for itself (see `History.append`)."""
        return [self._append(request) for request in requests]

    def _append(self, request: AppendRequest) -> AppendOutcome:
        verdict = judge(request, self)
        if isinstance(verdict, Duplicate):
            last = self._streams[request.stream][verdict.last_version - 1]
            recorded = last.recorded_time or last.time
            return Appended(
                verdict.first_version, verdict.last_version, 0, len(self._log) - 1, recorded, duplicate=True
            )
        if not isinstance(verdict, Accept):
            return verdict
        recorded = self._recorded_time()
        stream = self._streams.setdefault(request.stream, [])
        for event, digest in zip(request.events, verdict.digests, strict=True):
            version = len(stream) + 1
            stream.append(event.recorded(request.stream, version, recorded))
            self._ids[request.stream, event.id] = Known(version, digest)
            self._log.append(stream[-1])
            if event.type in MARKS:
                self._marks.setdefault(request.stream, []).append(mark_of(stream[-1]))
        for watcher in self._watchers:
            watcher.set()
        return Appended(verdict.first_version, len(stream), 0, len(self._log) - 1, recorded)

    def _recorded_time(self) -> datetime:
        now = self._clock.now()
        if self._last is not None:
            now = max(now, self._last + timedelta(microseconds=1))
        self._last = now
        return now

    async def read(self, stream: str, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of one stream (see `History.read`)."""
        self._close(query)
        if stream not in self._streams:
            raise NotFound(f"there is no stream {stream}")
        refused = gone(stream, reversed(self._marks.get(stream, ())), query)
        if refused is not None:
            raise refused
        for event in _selected(self._streams[stream], query):
            yield event

    async def read_category(self, category: str | None, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of all streams of a category (see `History.read_category`)."""
        self._close(query)
        log = self._log[:]  # as it is now: what is appended while somebody reads is not part of the answer
        for event in _selected([e for e in log if category is None or category_of(e.stream) == category], query):
            yield event

    async def latest(self, streams: Sequence[str], types: frozenset[str] = frozenset()) -> list[Latest]:
        """Of each stream the newest event of these types (see `History.latest`)."""
        wanted = named(types)
        return [_latest(self._streams.get(stream, ()), wanted) for stream in streams]

    def subscribe(
        self, stream: str, *, after: str | None = None, query: ReadQuery = ReadQuery()
    ) -> AsyncGenerator[Followed, None]:
        """Those there are, then those that come (see `Subscribable.subscribe`)."""
        return self._follow(lambda: self._streams.get(stream, []), selector(query), after, query)

    def subscribe_category(
        self, category: str | None, *, after: str | None = None, query: ReadQuery = ReadQuery()
    ) -> AsyncGenerator[Followed, None]:
        """Those there are, then those that come (see `Subscribable.subscribe_category`)."""
        selects = selector(query)

        def wanted(event: Event[bytes]) -> bool:
            return selects(event) and (category is None or category_of(event.stream) == category)

        return self._follow(lambda: self._log, wanted, after, query)

    async def _follow(
        self,
        log_now: Callable[[], list[Event[bytes]]],
        wanted: Callable[[Event[bytes]], bool],
        after: str | None,
        query: ReadQuery,
    ) -> AsyncGenerator[Followed, None]:
        at, left = check_subscription(after, query), query.limit
        grown = asyncio.Event()
        self._watchers.add(grown)
        try:
            while left is None or left > 0:
                log = log_now()
                if at >= len(log):
                    grown.clear()
                    await grown.wait()
                    continue
                event, at = log[at], at + 1
                if wanted(event):
                    left = None if left is None else left - 1
                    yield Followed(event, str(at))
        finally:
            self._watchers.discard(grown)

    async def end(self) -> str:
        """The position now (see `Subscribable.end`)."""
        return str(len(self._log))

    async def between(self, category: str | None, after: str, until: str) -> AsyncIterator[Event[bytes]]:
        """The events from one position to another (see `Subscribable.between`)."""
        low, high = check_positions(after, until)
        for event in self._log[low:high]:
            if category is None or category_of(event.stream) == category:
                yield event

    def describe(self) -> Description:
        """The history as data."""
        snapshots = sum(map(len, self._snapshots.values()))
        counters = {"streams": len(self._streams), "events": len(self._log), "snapshots": snapshots}
        return Description("MemoryHistory", "memory", counters=counters)

    def _close(self, query: ReadQuery) -> None:
        # What is read as known at an instant is read so for ever: nothing may be recorded at or before it any more.
        if query.known_at is not None:
            not_future(query.known_at, self._clock)
            self._last = max(query.known_at, self._last or query.known_at)

    async def save(self, fold: str, state: VersionedState[bytes]) -> None:
        """Keep a state (see `Snapshots.save`)."""
        held = self._snapshots.setdefault((state.id, fold), {})
        if state.version not in held:
            insort(self._snapshot_versions.setdefault((state.id, fold), []), state.version)
        held[state.version] = state

    async def nearest(self, stream: str, fold: str, version: int | None = None) -> VersionedState[bytes] | None:
        """The latest state up to a version (see `Snapshots.nearest`)."""
        versions = self._snapshot_versions.get((stream, fold), [])
        index = len(versions) if version is None else bisect_right(versions, version)
        return self._snapshots[stream, fold][versions[index - 1]] if index else None

    async def drop(self, stream: str | None = None) -> int:
        """Drop states (see `Snapshots.drop`)."""
        found = [key for key in self._snapshots if stream is None or key[0] == stream]
        for key in found:
            del self._snapshot_versions[key]
        return sum(len(self._snapshots.pop(key)) for key in found)


def _selected(events: list[Event[bytes]], query: ReadQuery) -> list[Event[bytes]]:
    found = list(filter(selector(query), events))
    if query.backward:
        found.reverse()
    return found[: query.limit]


def _latest(events: Sequence[Event[bytes]], wanted: Callable[[str], bool]) -> Latest:
    found = next((event for event in reversed(events) if wanted(event.type)), None)
    return Latest(len(events), max((event.time for event in events), default=None), found)
