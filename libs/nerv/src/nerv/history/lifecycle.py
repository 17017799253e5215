# SPDX-License-Identifier: Apache-2.0
"""Streams that were deleted: by an event in the stream itself, so that history stays. Pure.

    open ── deleted ──> deleted ── tombstoned ──> tombstoned
     ^                     │                          ^
     └───── reopened ──────┘      open ── tombstoned ─┘

A deleted stream takes one of the two events that lead on, a tombstoned one takes none, ever. Such an event stands alone in its
request; for the rest it is appended as any other, with an id and an expected version, which goes on counting.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from nerv.errors import Conflict, Gone, Invalid, NervError, NotFound
from nerv.protocols.history import AppendRequest, ReadQuery
from nerv.types import Event, EventType, format_instant

DELETED, REOPENED, TOMBSTONED = EventType.STREAM_DELETED, EventType.STREAM_REOPENED, EventType.STREAM_TOMBSTONED
MARKS: frozenset[str] = frozenset((DELETED, REOPENED, TOMBSTONED))


class Mark(NamedTuple):
    """An event that deleted, reopened or tombstoned its stream."""

    type: str
    version: int
    time: datetime
    recorded_time: datetime


def mark_of(event: Event[bytes]) -> Mark:
    """The mark that an event of history is."""
    return Mark(event.type, event.sequence or 0, event.time, event.recorded_time or event.time)


def refusal(request: AppendRequest, last: str | None, version: int) -> NervError | None:
    """Why a stream, whose last mark is of this type, does not take a request; None where it does.

    Gone for one that was deleted or tombstoned, Conflict or NotFound where there is nothing to reopen or to delete, Invalid
    for a mark among other events.
    """
    marks = [event.type for event in request.events if event.type in MARKS]
    if marks and len(request.events) > 1:
        return Invalid(f"{marks[0]} stands alone in its request: append the other events before it, or not at all")
    mark = marks[0] if marks else None
    if last == TOMBSTONED or (last == DELETED and mark not in (REOPENED, TOMBSTONED)):
        return gone_error(request.stream, last, version)
    if mark == REOPENED and last != DELETED:
        return Conflict(f"{request.stream} is not deleted, so that there is nothing to reopen")
    if mark is not None and version == 0:
        return NotFound(f"there is no stream {request.stream}")
    return None


def gone(stream: str, marks: Iterable[Mark], query: ReadQuery) -> Gone | None:
    """Why a stream with these marks, the newest first, is not read; None where it is.

    A read as of, or as known at, an instant before it was deleted finds it as it was.
    """
    if query.deleted:
        return None
    for mark in marks:
        happened = query.as_of is None or mark.time <= query.as_of
        if happened and (query.known_at is None or mark.recorded_time <= query.known_at):
            return None if mark.type == REOPENED else gone_error(stream, mark.type, mark.version, mark.time)
    return None


def gone_error(stream: str, mark: str, version: int, when: datetime | None = None) -> Gone:
    """What is said of a stream that was deleted or tombstoned."""
    how, then = (
        ("tombstoned", "it is never written again; choose another name")
        if mark == TOMBSTONED
        else ("deleted", "reopen it first (nerv history reopen)")
    )
    at = "" if when is None else f" at {format_instant(when)}"
    return Gone(
        f"{stream} was {how}{at}. To write: {then}. To read its history anyway: deleted=true (nerv history --deleted)",
        errors=[{"stream": stream, "version": version, "mark": mark}],
    )
