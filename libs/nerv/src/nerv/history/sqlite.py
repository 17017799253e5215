# SPDX-License-Identifier: Apache-2.0
"""History in one SQLite file: durable, for the processes of one machine, without a server."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from nerv.api.event.v1 import event_pb2, types_pb2
from nerv.cancelling import finished
from nerv.clock import SystemClock
from nerv.cloudevents import from_proto, to_proto
from nerv.cloudevents.proto_format import from_us, to_us
from nerv.cloudevents.types_format import state_from_proto, state_to_proto
from nerv.errors import Misconfigured, NotFound, Unavailable
from nerv.history.decide import Accept, Duplicate, Known, judge
from nerv.history.lifecycle import MARKS, Mark, gone
from nerv.history.select import check_positions, check_subscription, not_future
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Clock, Followed, Latest, ReadQuery
from nerv.types import Description, Event, Health, VersionedState, category_of

SCHEMA = 1
BUSY_SECONDS = 10.0  # how long one process waits for another to end its write
POLL_SECONDS = 0.05  # between looks of a subscription for what other processes have written
PAGE = 500  # events that are read at a time, so that a long stream does not fill memory

A = TypeVar("A")


class SqliteHistory:
    """`nerv.protocols.History`, `Subscribable` and `Snapshots` in a file; use as `async with`.

    What is acknowledged has been synchronised to the disk. One call of `append` is one transaction; processes that share
    the file take turns. Raises Unavailable where another holds it for longer than 10 s.
    """

    def __init__(self, path: Path | str, clock: Clock | None = None) -> None:
        self.log_id = ""
        self._path = str(path)
        self._clock = clock or SystemClock()
        self._db: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        self._reads = self._writes = 0

    async def __aenter__(self) -> Self:
        self._db = await asyncio.to_thread(_open, self._path)
        found = await asyncio.to_thread(os.stat, self._path)
        self.log_id = f"{found.st_dev}:{found.st_ino}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._turn:
            db, self._db = self._db, None
            if db is not None:
                await asyncio.to_thread(db.close)

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """Append to many streams, each request for itself, all in one transaction (see `History.append`)."""
        return await self._write(lambda db: _append(db, requests, to_us(self._clock.now())))

    async def read(self, stream: str, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of one stream (see `History.read`), a page at a time."""
        await self._close(query)
        if not await self._read(lambda db: _version(db, stream)):
            raise NotFound(f"there is no stream {stream}")
        refused = gone(stream, await self._read(partial(_marks, stream=stream)), query)
        if refused is not None:
            raise refused
        left = query.limit
        while left is None or left > 0:
            page = await self._read(partial(_page, stream=stream, query=query, left=left))
            for event in page:
                yield event
            if len(page) < PAGE:
                return
            left = None if left is None else left - len(page)
            last = page[-1].sequence or 0
            query = replace(query, to_version=last - 1) if query.backward else replace(query, from_version=last + 1)

    async def read_category(self, category: str | None, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of all streams of a category (see `History.read_category`), a page at a time."""
        await self._close(query)
        left, (low, high) = query.limit, await self._read(_positions)
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = await self._read(
                partial(_category_page, category=category, query=query, low=low, high=high, size=size)
            )
            for _, event in page:
                yield event
            if len(page) < size:
                return
            left = None if left is None else left - len(page)
            low, high = (low, page[-1][0] - 1) if query.backward else (page[-1][0] + 1, high)

    async def latest(self, streams: Sequence[str], types: frozenset[str] = frozenset()) -> list[Latest]:
        """Of each stream the newest event of these types (see `History.latest`)."""
        query = ReadQuery(types=types, backward=True)
        return await self._read(lambda db: [_latest(db, stream, query) for stream in streams])

    def subscribe(
        self, stream: str, *, after: str | None = None, query: ReadQuery = ReadQuery()
    ) -> AsyncGenerator[Followed, None]:
        """Those there are, then those that come, from any process (see `Subscribable.subscribe`)."""
        return self._follow(partial(_stream_after, stream=stream), after, query)

    def subscribe_category(
        self, category: str | None, *, after: str | None = None, query: ReadQuery = ReadQuery()
    ) -> AsyncGenerator[Followed, None]:
        """Those there are, then those that come, from any process (see `Subscribable.subscribe_category`)."""
        return self._follow(partial(_category_after, category=category), after, query)

    async def _follow(
        self, next_page: Callable[..., tuple[list[Followed], int]], after: str | None, query: ReadQuery
    ) -> AsyncGenerator[Followed, None]:
        at, left = check_subscription(after, query), query.limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page, at = await self._read(partial(next_page, query=query, at=at, size=size))
            for followed in page:
                yield followed
            left = None if left is None else left - len(page)
            if not page:
                await asyncio.sleep(POLL_SECONDS)  # another process does not call us when it writes

    async def end(self) -> str:
        """The position now (see `Subscribable.end`)."""
        _, last = await self._read(_positions)
        return str(last)

    async def between(self, category: str | None, after: str, until: str) -> AsyncIterator[Event[bytes]]:
        """The events from one position to another (see `Subscribable.between`)."""
        low, high = check_positions(after, until)
        while low < high:
            wanted = partial(_category_page, category=category, query=ReadQuery(), low=low + 1, high=high, size=PAGE)
            page = await self._read(wanted)
            for _, event in page:
                yield event
            low = page[-1][0] if len(page) == PAGE else high

    async def save(self, fold: str, state: VersionedState[bytes]) -> None:
        """Keep a state (see `Snapshots.save`)."""
        values = (state.id, fold, state.version, state_to_proto(state).SerializeToString())
        await self._write(lambda db: db.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", values))

    async def nearest(self, stream: str, fold: str, version: int | None = None) -> VersionedState[bytes] | None:
        """The latest state up to a version (see `Snapshots.nearest`)."""
        bound = 2**63 - 1 if version is None else version
        row = await self._read(
            lambda db: db.execute(
                "SELECT state FROM snapshots WHERE stream = ? AND fold = ? AND version <= ? ORDER BY version DESC LIMIT 1",
                (stream, fold, bound),
            ).fetchone()
        )
        return None if row is None else state_from_proto(types_pb2.VersionedState.FromString(row[0]))

    async def drop(self, stream: str | None = None) -> int:
        """Drop states (see `Snapshots.drop`)."""
        where = (
            ("DELETE FROM snapshots", ()) if stream is None else ("DELETE FROM snapshots WHERE stream = ?", (stream,))
        )
        return await self._write(lambda db: db.execute(*where).rowcount)

    def describe(self) -> Description:
        """The history as data, without looking into the file. It is down while the file is not open."""
        health = Health.DOWN if self._db is None else Health.OK
        counters = {"reads": self._reads, "writes": self._writes}
        return Description("SqliteHistory", self._path, counters=counters, health=health)

    async def _close(self, query: ReadQuery) -> None:
        if query.known_at is not None:
            not_future(query.known_at, self._clock)
            known_us = to_us(query.known_at)
            await self._write(lambda db: _close_at(db, known_us))

    async def _write(self, work: Callable[[sqlite3.Connection], A]) -> A:
        def transaction(db: sqlite3.Connection) -> A:
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

        self._writes += 1
        return await self._run(transaction)

    async def _read(self, work: Callable[[sqlite3.Connection], A]) -> A:
        self._reads += 1
        return await self._run(work)

    async def _run(self, work: Callable[[sqlite3.Connection], A]) -> A:
        async with self._turn:
            db = self._db
            if db is None:
                raise Unavailable(f"history {self._path} is not open; use it as `async with`")
            # A caller that goes away must not leave the connection to a thread that is still using it.
            return await finished(asyncio.ensure_future(asyncio.to_thread(_guarded, work, db)))


def _guarded(work: Callable[[sqlite3.Connection], A], db: sqlite3.Connection) -> A:
    with _mapped():
        return work(db)


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(f"SQLite: {error}", retry_after=1.0) from error
    except sqlite3.DatabaseError as error:
        raise Misconfigured(f"SQLite: {error}; is this a history file, and whole?") from error


def _open(path: str) -> sqlite3.Connection:
    with _mapped():
        db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            [found] = db.execute("PRAGMA user_version").fetchone()
            if found not in (0, SCHEMA):
                raise Misconfigured(f"{path} is of schema {found}; this version of NERV reads {SCHEMA}")
            if not found:
                db.executescript(
                    "BEGIN IMMEDIATE;" + (files("nerv.history") / "schema.sql").read_text("utf-8") + "COMMIT;"
                )
        except BaseException:
            db.close()
            raise
        return db


class _Streams:
    """What `judge` asks, within a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def version(self, stream: str) -> int:
        return _version(self._db, stream)

    def known(self, stream: str, event_id: str) -> Known | None:
        row = self._db.execute(
            "SELECT version, digest FROM events WHERE stream = ? AND id = ?", (stream, event_id)
        ).fetchone()
        return None if row is None else Known(*row)

    def mark(self, stream: str) -> str | None:
        marks = _marks(self._db, stream)
        return marks[0].type if marks else None


def _marks(db: sqlite3.Connection, stream: str) -> list[Mark]:
    types = ", ".join(f"'{mark}'" for mark in sorted(MARKS))  # in the words of the index `marks`
    rows = db.execute(
        f"SELECT type, version, time_us, recorded_us FROM events WHERE stream = ? AND type IN ({types}) "  # noqa: S608 - our own words
        "ORDER BY version DESC",
        (stream,),
    )
    return [Mark(kind, version, from_us(time), from_us(recorded)) for kind, version, time, recorded in rows]


def _version(db: sqlite3.Connection, stream: str) -> int:
    [found] = db.execute("SELECT max(version) FROM events WHERE stream = ?", (stream,)).fetchone()
    return found or 0


def _append(db: sqlite3.Connection, requests: Sequence[AppendRequest], now_us: int) -> list[AppendOutcome]:
    streams, outcomes = _Streams(db), list[AppendOutcome]()
    last_us = _last_recorded(db)
    for request in requests:
        verdict = judge(request, streams)
        if isinstance(verdict, Duplicate):
            outcomes.append(_duplicate(db, request.stream, verdict))
        elif isinstance(verdict, Accept):
            last_us = max(now_us, last_us + 1)
            outcomes.append(_accepted(db, request, verdict, last_us))
        else:
            outcomes.append(verdict)
    return outcomes


def _last_recorded(db: sqlite3.Connection) -> int:
    # Recorded time grows with the position, so that the last position has the last instant.
    row = db.execute("SELECT recorded_us FROM events ORDER BY position DESC LIMIT 1").fetchone()
    [closed] = db.execute("SELECT max(recorded_us) FROM closing").fetchone()
    return max(row[0] if row else 0, closed or 0)


def _close_at(db: sqlite3.Connection, known_us: int) -> None:
    db.execute(
        "INSERT INTO closing VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET recorded_us = max(recorded_us, excluded.recorded_us)",
        (known_us,),
    )


def _duplicate(db: sqlite3.Connection, stream: str, verdict: Duplicate) -> Appended:
    position, recorded = db.execute(
        "SELECT position, recorded_us FROM events WHERE stream = ? AND version = ?", (stream, verdict.last_version)
    ).fetchone()
    return Appended(verdict.first_version, verdict.last_version, 0, position, from_us(recorded), duplicate=True)


def _accepted(db: sqlite3.Connection, request: AppendRequest, verdict: Accept, recorded_us: int) -> Appended:
    recorded, position = from_us(recorded_us), 0
    category = category_of(request.stream)
    for version, (event, digest) in enumerate(zip(request.events, verdict.digests, strict=True), verdict.first_version):
        stored = event.recorded(request.stream, version, recorded)
        position = _insert(db, stored, category, digest)
    last = verdict.first_version + len(request.events) - 1
    return Appended(verdict.first_version, last, 0, position, recorded)


def _insert(db: sqlite3.Connection, event: Event[bytes], category: str, digest: bytes) -> int:
    recorded = event.recorded_time or event.time
    values = (
        event.stream, category, event.sequence, event.id, digest, event.type, to_us(event.time), to_us(recorded),
        to_proto(event).SerializeToString(),
    )  # fmt: skip
    added = db.execute(
        "INSERT INTO events (stream, category, version, id, digest, type, time_us, recorded_us, event) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    return added.lastrowid or 0


def _page(db: sqlite3.Connection, stream: str, query: ReadQuery, left: int | None) -> list[Event[bytes]]:
    bounds, values = _bounds(query)
    order = "DESC" if query.backward else "ASC"
    return _events(
        db.execute(
            f"SELECT event FROM events WHERE stream = ?{bounds} ORDER BY version {order} LIMIT ?",  # noqa: S608 - our own words
            (stream, *values, PAGE if left is None else min(PAGE, left)),
        )
    )


def _latest(db: sqlite3.Connection, stream: str, query: ReadQuery) -> Latest:
    version, time_us = db.execute(
        "SELECT max(version), max(time_us) FROM events WHERE stream = ?", (stream,)
    ).fetchone()
    return Latest(version, from_us(time_us), next(iter(_page(db, stream, query, 1)), None)) if version else Latest()


def _positions(db: sqlite3.Connection) -> tuple[int, int]:
    [last] = db.execute("SELECT max(position) FROM events").fetchone()
    return 1, last or 0


def _category_page(
    db: sqlite3.Connection, category: str | None, query: ReadQuery, low: int, high: int, size: int
) -> list[tuple[int, Event[bytes]]]:
    bounds, values = _bounds(query)
    of_category, names = ("", ()) if category is None else (" AND category = ?", (category,))
    order = "DESC" if query.backward else "ASC"
    rows = db.execute(
        f"SELECT position, event FROM events WHERE position BETWEEN ? AND ?{of_category}{bounds} "  # noqa: S608 - our own words
        f"ORDER BY position {order} LIMIT ?",
        (low, high, *names, *values, size),
    )
    return [(position, from_proto(event_pb2.Event.FromString(data))) for position, data in rows]


def _stream_after(
    db: sqlite3.Connection, stream: str, query: ReadQuery, at: int, size: int
) -> tuple[list[Followed], int]:
    """The next page of a subscription to a stream, and the version that it has come to."""
    later = replace(query, from_version=max(query.from_version, at + 1))
    page = [Followed(event, str(event.sequence)) for event in _page(db, stream, later, size)]
    return page, int(page[-1].position) if page else at


def _category_after(
    db: sqlite3.Connection, category: str | None, query: ReadQuery, at: int, size: int
) -> tuple[list[Followed], int]:
    """The next page of a subscription to many streams, and the position after all that was looked at."""
    _, last = _positions(db)
    page = [
        Followed(event, str(position)) for position, event in _category_page(db, category, query, at + 1, last, size)
    ]
    return page, int(page[-1].position) if len(page) == size else max(last, at)


def _bounds(query: ReadQuery) -> tuple[str, list[Any]]:
    words, values = " AND version >= ?", list[Any]([query.from_version])

    def bound(condition: str, value: Any) -> None:
        nonlocal words
        words += f" AND {condition}"
        values.append(value)

    if query.to_version is not None:
        bound("version <= ?", query.to_version)
    if query.as_of is not None:
        bound("time_us <= ?", to_us(query.as_of))
    if query.known_at is not None:
        bound("recorded_us <= ?", to_us(query.known_at))
    if query.recorded_from is not None:
        bound("recorded_us >= ?", to_us(query.recorded_from))
    for column, patterns in (("type", query.types), ("stream", query.streams)):
        if patterns:
            ways, texts = _named(column, sorted(patterns))
            words += f" AND ({ways})"
            values += texts
    return words, values


def _named(column: str, patterns: Sequence[str]) -> tuple[str, list[Any]]:
    """`nerv.history.named` in SQL."""
    ways, texts = list[str](), list[Any]()
    for pattern in patterns:
        if pattern.endswith("*"):
            ways.append(f"substr({column}, 1, ?) = ?")
            texts += [len(pattern) - 1, pattern[:-1]]
        else:
            ways.append(f"{column} = ?")
            texts.append(pattern)
    return " OR ".join(ways), texts


def _events(rows: Iterator[tuple[bytes]]) -> list[Event[bytes]]:
    return [from_proto(event_pb2.Event.FromString(data)) for (data,) in rows]
