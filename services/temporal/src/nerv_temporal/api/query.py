# SPDX-License-Identifier: Apache-2.0
"""What a read asks for, from its address and headers. Every word is checked, and one that is not known is refused."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from nerv.errors import Invalid
from nerv.protocols import ReadQuery
from nerv.service import Request
from nerv.service.params import (
    LAST,
    LAST_EVENT_ID,
    choice,
    flag,
    instant,
    optional_number,
    patterns,
    text,
    whole_number,
)
from nerv.types import check_id
from nerv_temporal.api.formats import Format, format_of
from nerv_temporal.positions import Position, Ranges, parse_position, parse_ranges, parse_whole_position

PAGE = 1000  # the largest page
ORDINARY_PAGE = 100

START, END = "start", "end"


class Consistency(StrEnum):
    """How fresh an answer is."""

    DEFAULT = "default"  # as the owner sees it; an owner that was deposed a moment ago may not know that yet
    STRONG = "strong"  # the owner proves first that it still is the owner
    LOCAL = "local"  # what this replica has, but no less than `min_position`


class Direction(StrEnum):
    """In which order versions come."""

    FORWARD = "forward"
    BACKWARD = "backward"


FROM = text("from", f"The first version, {START}, or {END} (what comes from now on, with follow).", {"type": "string"})
TO = optional_number("to", "The last version.")
RECORDED_FROM = instant("recorded_from", "Only what was recorded at or after this instant.")
DIRECTION = choice("direction", Direction.FORWARD, "The order of versions.")
LIMIT = optional_number(
    "limit", f"Events at most; of a page {PAGE} at most, and {ORDINARY_PAGE} where it is left out.", low=1
)
TYPES = patterns("types", "Only events of these types.")
STREAMS = patterns("streams", "Only events of these streams.")
CATEGORY = text("category", "The streams of this category.")
AS_OF = instant("as_of", "Valid time: only what had happened by then.")
KNOWN_AT = instant("known_at", "Recorded time: only what was recorded by then.")
FOLLOW = flag("follow", "Go on for ever.")
AFTER = text("after", "Where an earlier answer ended: its `next` or `position`.", {"type": "string"})
DELETED = flag("deleted", "Also what was deleted, as it was.")
CONSISTENCY = text(
    "consistency",
    f"{', '.join(Consistency)}; local where min_position is given, else default.",
    {"type": "string", "enum": list(Consistency)},
)
MIN_POSITION = text("min_position", "Wait until this position is there; the token of an append.", {"type": "string"})
FRESH = (KNOWN_AT, CONSISTENCY, MIN_POSITION)
_READ = (FROM, TO, RECORDED_FROM, DIRECTION, LIMIT, TYPES, AS_OF, FOLLOW, AFTER, LAST_EVENT_ID, *FRESH)
OF_STREAM = (*_READ, DELETED)
OF_MANY = (*_READ, CATEGORY, STREAMS)


@dataclass(frozen=True, slots=True)
class Freshness:
    """What an answer must hold at least."""

    consistency: Consistency
    min_position: Position
    known_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A read: what of (`query`), in which form, from where on, and whether it goes on for ever."""

    query: ReadQuery
    format: Format
    freshness: Freshness
    limit: int  # events: of a page, or of the whole answer when it is streamed
    follow: bool = False
    from_end: bool = False
    start: Position | None = None
    left: Ranges | None = None
    category: str | None = None


def asked_of_stream(request: Request[Any], partitions: int) -> Asked:
    """A read of one stream. Raises Invalid or TooLarge."""
    shape = format_of(request)
    query, token = _query(request), _after(request, shape)
    after = None if token is None else whole_number(token, "after", 0, LAST - 1)
    if after is not None and query.backward:
        query = replace(query, to_version=after - 1)
    elif after is not None:
        query = replace(query, from_version=max(query.from_version, after + 1))
    return _whole(request, Asked(query, shape, freshness(request, partitions), PAGE), after is not None)


def asked_of_many(request: Request[Any], partitions: int) -> Asked:
    """A read of the streams of a category, or of all. Raises Invalid or TooLarge."""
    shape, category = format_of(request), request.get(CATEGORY)
    if category is not None and "-" in check_id(category, "category"):
        raise Invalid(f"a category ends at the first dash of a stream's name, so {category[:40]!r} is none")
    asked = Asked(_query(request), shape, freshness(request, partitions), PAGE, category=category)
    after = _after(request, shape)
    if after is not None and "-" in after:
        asked = replace(asked, left=parse_ranges(after, partitions, "after"))
    elif after is not None:
        asked = replace(asked, start=parse_whole_position(after, partitions, "after"))
    return _whole(request, asked, after is not None)


def _whole(request: Request[Any], asked: Asked, resumed: bool) -> Asked:
    query, follow, shape = asked.query, request.get(FOLLOW), asked.format
    if follow and (query.backward or query.to_version is not None or query.as_of or query.known_at or asked.left):
        raise Invalid("a read that follows goes on for ever: leave out direction, to, as_of and known_at")
    from_end = request.get(FROM) == END and not resumed  # who comes back has a place to go on from
    if from_end and not follow:
        raise Invalid("nothing stands after the end: from=end goes with follow=true")
    fresh = asked.freshness
    if follow and not from_end:  # what is not here yet comes later, so nobody need be asked: it works without an owner
        fresh = replace(fresh, consistency=Consistency.LOCAL)
    if follow and not shape.streamed:
        shape = Format.NDJSON
    most, ordinary = (LAST, LAST) if shape.streamed else (PAGE, ORDINARY_PAGE)
    limit = request.get(LIMIT) or ordinary
    if limit > most:
        raise Invalid(
            f"limit must be at most {most} for a page, not {limit}; a stream (Accept: {Format.NDJSON.value}) has none"
        )
    return replace(asked, format=shape, freshness=fresh, follow=follow, from_end=from_end, limit=limit)


def _query(request: Request[Any]) -> ReadQuery:
    first = request.get(FROM) or START
    return ReadQuery(
        from_version=1 if first in (START, END) else whole_number(first, "from", 0),
        to_version=request.get(TO),
        backward=request.get(DIRECTION) is Direction.BACKWARD,
        types=request.get(TYPES),
        streams=request.get(STREAMS),
        as_of=request.get(AS_OF),
        known_at=request.get(KNOWN_AT),
        recorded_from=request.get(RECORDED_FROM),
        deleted=request.get(DELETED),
    )


def freshness(request: Request[Any], partitions: int) -> Freshness:
    """How fresh the answer must be. Raises Invalid."""
    token, word = request.get(MIN_POSITION), request.get(CONSISTENCY)
    position = {} if token is None else parse_position(token, partitions, "min_position")
    ordinary = Consistency.DEFAULT if token is None else Consistency.LOCAL
    if word is not None and word not in list(Consistency):
        raise Invalid(f"consistency must be {', '.join(Consistency)}, not {word[:40]!r}")
    return Freshness(Consistency(word) if word else ordinary, position, request.get(KNOWN_AT))


def _after(request: Request[Any], shape: Format) -> str | None:
    """Where an earlier answer ended; a reader of server-sent events that comes back says it in a header."""
    again = request.get(LAST_EVENT_ID) if shape is Format.SSE else None
    return again or request.get(AFTER)
