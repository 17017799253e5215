# SPDX-License-Identifier: Apache-2.0
"""The temporal store of one process: history, and the state of any stream as of any version or instant."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nerv.app import SnapshotPolicy
from nerv.history.fold import valid_time_order
from nerv.history.memory import MemoryHistory
from nerv.history.snapshots import DEFAULT, Replay
from nerv.history.sqlite import SqliteHistory
from nerv.protocols import AppendOutcome, AppendRequest, Clock, History, Latest, Projectable, ReadQuery, Snapshots
from nerv.types import Description, EntityId, Event, S, VersionedState, VersionId


class TemporalStore:
    """`nerv.protocols.History`, and states folded from it; use as `async with`. Make one with `in_memory` or `sqlite`.

    Snapshots shorten the fold of a state by version or by recorded time; `policy`, or that of a read, says when one is
    kept. They are never needed: without them, and after `drop`, the answers are the same. They belong to the code of their
    fold, with all of the app that it calls: a changed fold uses none of the old ones.
    """

    def __init__(
        self, history: History, snapshots: Snapshots | None = None, *, policy: SnapshotPolicy = DEFAULT
    ) -> None:
        self.history = history
        self.snapshots = snapshots
        self._policy = policy
        self._stack = AsyncExitStack()
        self._appended = self._folded = self._snapshots_made = self._snapshots_used = 0

    @classmethod
    def in_memory(cls, clock: Clock | None = None, *, policy: SnapshotPolicy = DEFAULT) -> "TemporalStore":
        """A store that ends with the process."""
        history = MemoryHistory(clock)
        return cls(history, history, policy=policy)

    @classmethod
    def sqlite(
        cls, path: Path | str, clock: Clock | None = None, *, policy: SnapshotPolicy = DEFAULT
    ) -> "TemporalStore":
        """A store in a file, which is made where there is none."""
        history = SqliteHistory(path, clock)
        return cls(history, history, policy=policy)

    async def __aenter__(self) -> Self:
        if isinstance(self.history, SqliteHistory):
            await self._stack.enter_async_context(self.history)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """Append to many streams (see `History.append`)."""
        self._appended += len(requests)
        return await self.history.append(requests)

    def read(self, stream: str, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of one stream (see `History.read`)."""
        return self.history.read(stream, query)

    def read_category(self, category: str | None, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of all streams of a category (see `History.read_category`)."""
        return self.history.read_category(category, query)

    async def latest(self, streams: Sequence[str], types: frozenset[str] = frozenset()) -> list[Latest]:
        """Of each stream the newest event of these types (see `History.latest`)."""
        return await self.history.latest(streams, types)

    async def state(
        self,
        fold: Projectable[S],
        stream: str,
        *,
        version: int | None = None,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
        start: VersionedState[S | None] | None = None,
        policy: SnapshotPolicy | None = None,
    ) -> VersionedState[S | None]:
        """The state of a stream at a version (None: the latest), as known at a recorded instant, as of a valid instant.

        All bounds hold together. `version` of the answer is that of the last event folded. As of a valid instant events
        are folded by (`time`, version), so that neither snapshots nor `start`, a state to go on from, can be used.

        Raises NotFound where there is no stream, Invalid for a `known_at` to come, SchemaMismatch, or what the fold raises.
        """
        query = ReadQuery(to_version=version, as_of=as_of, known_at=known_at, types=fold.types)
        if as_of is not None:
            events = sorted([event async for event in self.history.read(stream, query)], key=valid_time_order)
            return self._fold(fold, _nothing(stream), events)
        base = await self._base(fold, stream, query, start)
        query = ReadQuery(base.version + 1, version, known_at=known_at, types=fold.types)
        replay = Replay(policy or self._policy)
        events = [event async for event in self.history.read(stream, query)]
        state = self._fold(fold, base, events)
        for event in events:
            replay.add(len(event.data))
        if replay.due():
            await self._keep(fold, state, replay)
        return state

    def describe(self) -> Description:
        """The store as data."""
        counters = {
            "appended": self._appended,
            "folded": self._folded,
            "snapshots_made": self._snapshots_made,
            "snapshots_used": self._snapshots_used,
        }
        return Description("TemporalStore", type(self.history).__name__, counters=counters)

    async def _keep(self, fold: Projectable[S], state: VersionedState[S | None], replay: Replay) -> None:
        written = fold.dump(state.state)
        if self.snapshots is None or not replay.keeps(written):
            return
        kept = VersionedState(state.id, state.version, written, state.time, state.recorded_time)
        await self.snapshots.save(_identity(fold), kept)
        self._snapshots_made += 1

    async def _base(
        self, fold: Projectable[S], stream: str, query: ReadQuery, start: VersionedState[S | None] | None
    ) -> VersionedState[S | None]:
        """The nearest state that all bounds allow; before the first event where there is none."""
        found: VersionedState[S | None] = _nothing(stream)
        if start is not None and _within(start, query):
            found = start
        if self.snapshots is None:
            return found
        snapshot = await self.snapshots.nearest(stream, _identity(fold), query.to_version)
        if snapshot is None or snapshot.version <= found.version or not _within(snapshot, query):
            return found
        self._snapshots_used += 1
        return VersionedState(
            snapshot.id, snapshot.version, fold.load(snapshot.state), snapshot.time, snapshot.recorded_time
        )

    def _fold(
        self, fold: Projectable[S], base: VersionedState[S | None], events: Sequence[Event[bytes]]
    ) -> VersionedState[S | None]:
        state = base.state
        for event in events:
            state = fold.function(state, fold.decode(event))
        self._folded += len(events)
        if not events:
            return base
        last = max(events, key=lambda event: event.sequence or 0)
        version = VersionId(last.sequence or 0)
        return VersionedState(base.id, version, state, events[-1].time, last.recorded_time)


def _nothing(stream: str) -> VersionedState[Any]:
    return VersionedState(EntityId(stream), VersionId(0), None)


def _within(state: VersionedState[Any], query: ReadQuery) -> bool:
    if query.to_version is not None and state.version > query.to_version:
        return False
    return query.known_at is None or (state.recorded_time is not None and state.recorded_time <= query.known_at)


def _identity(fold: Projectable[Any]) -> str:
    return f"{fold.name}@{fold.fingerprint}"
