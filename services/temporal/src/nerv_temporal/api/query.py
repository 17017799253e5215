# SPDX-License-Identifier: Apache-2.0
"""What a read asks for, from its address and headers. Every word is checked, and one that is not known is refused."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from nerv.errors import Invalid
from nerv.protocols import ReadQuery
from nerv.service import Request
from nerv.service.query import LAST, flag, instant, optional_number, patterns, refuse_unknown, whole_number
from nerv.types import check_id
from nerv_temporal.api.formats import Format, format_of
from nerv_temporal.positions import Position, Ranges, parse_position, parse_ranges, parse_whole_position

PAGE = 1000  # the largest page
ORDINARY_PAGE = 100

START, END = "start", "end"
OF_STREAM = frozenset(
    {"from", "to", "recorded_from", "direction", "limit", "types", "as_of", "known_at", "follow", "after"}
    | {"consistency", "min_position", "deleted"}
)
OF_MANY = (OF_STREAM - {"deleted"}) | {"category", "streams"}
OF_STATE = frozenset({"projection", "version", "as_of", "known_at", "consistency", "min_position", "deleted"})


class Consistency(StrEnum):
    """How fresh an answer is."""

    DEFAULT = "default"  # as the owner sees it; an owner that was deposed a moment ago may not know that yet
    STRONG = "strong"  # the owner proves first that it still is the owner
    LOCAL = "local"  # what this replica has, but no less than `min_position`


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
    refuse_unknown(request, OF_STREAM)
    shape = format_of(request)
    query, text = _query(request), _after(request, shape)
    after = None if text is None else whole_number(text, "after", 0, LAST - 1)
    if after is not None and query.backward:
        query = replace(query, to_version=after - 1)
    elif after is not None:
        query = replace(query, from_version=max(query.from_version, after + 1))
    return _whole(request, Asked(query, shape, freshness(request, partitions), PAGE), after is not None)


def asked_of_many(request: Request[Any], partitions: int) -> Asked:
    """A read of the streams of a category, or of all. Raises Invalid or TooLarge."""
    refuse_unknown(request, OF_MANY)
    shape, category = format_of(request), request.query("category")
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
    query, follow, shape = asked.query, flag(request, "follow"), asked.format
    if follow and (query.backward or query.to_version is not None or query.as_of or query.known_at or asked.left):
        raise Invalid("a read that follows goes on for ever: leave out direction, to, as_of and known_at")
    from_end = request.query("from") == END and not resumed  # who comes back has a place to go on from
    if from_end and not follow:
        raise Invalid("nothing stands after the end: from=end goes with follow=true")
    fresh = asked.freshness
    if follow and not from_end:  # what is not here yet comes later, so nobody need be asked: it works without an owner
        fresh = replace(fresh, consistency=Consistency.LOCAL)
    if follow and not shape.streamed:
        shape = Format.NDJSON
    most, ordinary = (LAST, LAST) if shape.streamed else (PAGE, ORDINARY_PAGE)
    limit = request.number("limit", ordinary, low=1, high=most)
    return replace(asked, format=shape, freshness=fresh, follow=follow, from_end=from_end, limit=limit)


def _query(request: Request[Any]) -> ReadQuery:
    first = request.query("from") or START
    direction = request.query("direction") or "forward"
    if direction not in ("forward", "backward"):
        raise Invalid(f"direction must be forward or backward, not {direction[:40]!r}")
    return ReadQuery(
        from_version=1 if first in (START, END) else whole_number(first, "from", 0),
        to_version=optional_number(request, "to"),
        backward=direction == "backward",
        types=patterns(request, "types"),
        streams=patterns(request, "streams"),
        as_of=instant(request, "as_of"),
        known_at=instant(request, "known_at"),
        recorded_from=instant(request, "recorded_from"),
        deleted=flag(request, "deleted"),
    )


def freshness(request: Request[Any], partitions: int) -> Freshness:
    """How fresh the answer must be. Raises Invalid."""
    text, word = request.query("min_position"), request.query("consistency")
    position = {} if text is None else parse_position(text, partitions, "min_position")
    ordinary = Consistency.DEFAULT if text is None else Consistency.LOCAL
    if word is not None and word not in list(Consistency):
        raise Invalid(f"consistency must be {', '.join(Consistency)}, not {word[:40]!r}")
    return Freshness(Consistency(word) if word else ordinary, position, instant(request, "known_at"))


def _after(request: Request[Any], shape: Format) -> str | None:
    """Where an earlier answer ended; a reader of server-sent events that comes back says it in a header."""
    again = request.header("last-event-id") if shape is Format.SSE else None
    return again or request.query("after")
