# SPDX-License-Identifier: Apache-2.0
"""The log port: append with an expected version, read back, exactly."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from nerv.errors import Invalid, NervError
from nerv.types import Event


class Expect(StrEnum):
    """What the writer expects of the stream."""

    ANY = "any"
    NONE = "none"  # it does not exist
    EXISTS = "exists"
    EXACT = "exact"  # it is at `version`


@dataclass(frozen=True, slots=True)
class Expected:
    """An expected version; `version` counts only with EXACT, and 0 there means that the stream does not exist."""

    kind: Expect = Expect.ANY
    version: int = 0

    @classmethod
    def parse(cls, text: str) -> "Expected":
        """`any`, `none`, `exists` or a whole number. Raises Invalid."""
        if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 2**63:
            return cls(Expect.EXACT, int(text))
        if text in (Expect.ANY, Expect.NONE, Expect.EXISTS):
            return cls(Expect(text))
        raise Invalid(f"expected_version must be any, none, exists or a whole number, not {text[:40]!r}")

    def __str__(self) -> str:
        return str(self.version) if self.kind is Expect.EXACT else self.kind.value


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """Append these events to one stream, all or none. Their ids make a repeat harmless, for the life of the stream."""

    stream: str
    events: Sequence[Event[bytes]]
    expected: Expected = field(default=Expected())


@dataclass(frozen=True, slots=True)
class Appended:
    """Done. Versions count from 1. `partition` and `offset` are the position token of the last event."""

    first_version: int
    last_version: int
    partition: int
    offset: int
    recorded_time: datetime
    duplicate: bool = False


AppendOutcome = Appended | NervError
"""Done; or an error whose class says refused (Refused), not done (Unavailable) or unknown (UnknownOutcome)."""


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """Which events to read. All bounds hold together; None does not bound.

    `as_of` bounds `time` (valid time), `known_at` bounds `recorded_time` (system time), both inclusive, UTC;
    `recorded_from` is the first recorded instant that is read. `types` and `streams` are names, or beginnings of names that
    end with `*`; none selects all. `streams` narrows a read of many streams. With
    `deleted` one stream is read although it was deleted or tombstoned; a read of many holds what was ever recorded.
    """

    from_version: int = 1
    to_version: int | None = None
    limit: int | None = None
    backward: bool = False
    types: frozenset[str] = frozenset()
    as_of: datetime | None = None
    known_at: datetime | None = None
    recorded_from: datetime | None = None
    streams: frozenset[str] = frozenset()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Latest:
    """A stream as it stands: its version (0: there is none), the latest `time` in it, its newest event of those asked for."""

    version: int = 0
    time: datetime | None = None
    event: Event[bytes] | None = None


class History(Protocol):
    """Append-only streams of events, each with versions 1, 2, 3, ... without a gap.

    Linearizable for one stream. Implemented by the histories in memory and in SQLite of `nerv.history`, and by the client of
    *temporal*.
    """

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """Append to many streams; each request stands for itself and gets its own outcome, in order.

        An id that the stream has with the same content gives the first answer again (`duplicate`), before the version is
        looked at; with other content IdConflict. A wrong version gives VersionConflict.
        """
        ...

    def read(self, stream: str, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of one stream in order of version. A stream that does not exist gives NotFound."""
        ...

    def read_category(self, category: str | None, query: ReadQuery = ReadQuery()) -> AsyncIterator[Event[bytes]]:
        """The events of all streams of a category (None: of all), in the order in which they were recorded.

        `backward` reads the newest first. Each stream comes in order of version. Events recorded at one instant come
        in an order that does not change. What was appended before the call is read, each event once.
        """
        ...

    async def latest(self, streams: Sequence[str], types: frozenset[str] = frozenset()) -> list[Latest]:
        """Of each stream the newest event of these types (none: of all; see `ReadQuery.types`), in the order of the names.

        Streams that were deleted are answered as they were recorded.
        """
        ...


@dataclass(frozen=True, slots=True)
class Followed:
    """An event, and the position from which a subscription goes on after it. The text means something to its store only."""

    event: Event[bytes]
    position: str


@runtime_checkable
class Subscribable(Protocol):
    """History as it grows. Implemented by the stores in memory and in SQLite, and by the client of *temporal*."""

    @property
    def log_id(self) -> str:
        """Names the log that positions are of; in another one they mean nothing."""
        ...

    def subscribe(
        self, stream: str, *, after: str | None = None, query: ReadQuery = ReadQuery()
    ) -> AsyncGenerator[Followed, None]:
        """The events of a stream: those there are, then those that come. A stream that does not exist yet is waited for.

        From the beginning, or after a position that an earlier subscription to the same came to. Each event once, in
        order of version: nothing is missing, and nothing is twice, where history ends and the present begins. It goes on
        for ever. Of the query's bounds `from_version`, `types`, `streams`, `recorded_from` and `limit` hold, the latter
        ends the subscription. Raises Invalid for others, and for a position that is none.
        """
        ...

    def subscribe_category(
        self, category: str | None, *, after: str | None = None, query: ReadQuery = ReadQuery()
    ) -> AsyncGenerator[Followed, None]:
        """The events of all streams of a category (None: of all), as `subscribe` does, each stream in order of version."""
        ...

    async def end(self) -> str:
        """The position after all that is recorded now, for `subscribe_category`."""
        ...

    def between(self, category: str | None, after: str, until: str) -> AsyncIterator[Event[bytes]]:
        """The events of a category from one position of `end` to a later one, each stream in order of version.

        Raises Invalid for positions that are none, or of which the second is not the later one.
        """
        ...
