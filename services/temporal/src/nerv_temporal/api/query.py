# SPDX-License-Identifier: Apache-2.0
"""What a read asks for, from its address and headers. Every word is checked, and one that is not known is refused."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from nerv.errors import Invalid
from nerv.protocols import ReadQuery
from nerv.service import Request
from nerv.types import check_id, parse_instant
from nerv_temporal.api.formats import Format, format_of
from nerv_temporal.positions import Position, Ranges, parse_position, parse_ranges, parse_whole_position

LAST = 2**63 - 1
PAGE = 1000  # the largest page
ORDINARY_PAGE = 100
PATTERNS = 100  # types or streams that one read may name

START, END = "start", "end"
OF_STREAM = frozenset(
    {"from", "to", "recorded_from", "direction", "limit", "types", "as_of", "known_at", "follow", "after"}
    | {"consistency", "min_position"}
)
OF_MANY = OF_STREAM | {"category", "streams"}
OF_STATE = frozenset({"projection", "version", "as_of", "known_at", "consistency", "min_position"})


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
    word, after = _from(request, shape), optional_number(request, "after")
    query = _query(request, 1 if word in (START, END) else whole_number(word, "from", 0))
    if after is not None and query.backward:
        query = replace(query, to_version=after - 1)
    elif after is not None:
        query = replace(query, from_version=max(query.from_version, after + 1))
    return _whole(request, Asked(query, shape, freshness(request, partitions), PAGE, from_end=word == END))


def asked_of_many(request: Request[Any], partitions: int) -> Asked:
    """A read of the streams of a category, or of all. Raises Invalid or TooLarge."""
    refuse_unknown(request, OF_MANY)
    shape, category = format_of(request), request.query("category")
    if category is not None and "-" in check_id(category, "category"):
        raise Invalid(f"a category ends at the first dash of a stream's name, so {category[:40]!r} is none")
    word, after = _from(request, shape), request.query("after")
    start = parse_whole_position(word, partitions, "from") if ":" in word else None
    first = 1 if start is not None or word in (START, END) else whole_number(word, "from", 0)
    left = None if after is None else parse_ranges(after, partitions, "after")
    asked = Asked(_query(request, first), shape, freshness(request, partitions), PAGE, from_end=word == END)
    return _whole(request, replace(asked, category=category, start=start, left=left))


def _whole(request: Request[Any], asked: Asked) -> Asked:
    query, follow, shape = asked.query, flag(request, "follow"), asked.format
    if follow and (query.backward or query.to_version is not None or query.as_of or query.known_at):
        raise Invalid("a read that follows goes on for ever: leave out direction, to, as_of and known_at")
    if follow and request.query("after") is not None:
        raise Invalid("a read that follows goes on from=<position>; after=<token> is for the pages of one that ends")
    if asked.from_end and not follow:
        raise Invalid("nothing stands after the end: from=end goes with follow=true")
    if follow and not shape.streamed:
        shape = Format.NDJSON
    most, ordinary = (LAST, LAST) if shape.streamed else (PAGE, ORDINARY_PAGE)
    limit = request.number("limit", ordinary, low=1, high=most)
    return replace(asked, format=shape, follow=follow, limit=limit)


def _query(request: Request[Any], first: int) -> ReadQuery:
    direction = request.query("direction") or "forward"
    if direction not in ("forward", "backward"):
        raise Invalid(f"direction must be forward or backward, not {direction[:40]!r}")
    return ReadQuery(
        from_version=first,
        to_version=optional_number(request, "to"),
        backward=direction == "backward",
        types=patterns(request, "types"),
        streams=patterns(request, "streams"),
        as_of=instant(request, "as_of"),
        known_at=instant(request, "known_at"),
        recorded_from=instant(request, "recorded_from"),
    )


def freshness(request: Request[Any], partitions: int) -> Freshness:
    """How fresh the answer must be. Raises Invalid."""
    text, word = request.query("min_position"), request.query("consistency")
    position = {} if text is None else parse_position(text, partitions, "min_position")
    ordinary = Consistency.DEFAULT if text is None else Consistency.LOCAL
    if word is not None and word not in list(Consistency):
        raise Invalid(f"consistency must be {', '.join(Consistency)}, not {word[:40]!r}")
    return Freshness(Consistency(word) if word else ordinary, position, instant(request, "known_at"))


def _from(request: Request[Any], shape: Format) -> str:
    """Where to begin; a reader of server-sent events that comes back says it in a header."""
    again = request.header("last-event-id") if shape is Format.SSE else None
    if again is None:
        return request.query("from") or START
    return again if ":" in again else str(whole_number(again, "Last-Event-ID", 0, LAST - 1) + 1)


def instant(request: Request[Any], name: str) -> datetime | None:
    """An instant of the query, or None. Raises Invalid."""
    text = request.query(name)
    return None if text is None else parse_instant(text[:60], name)


def patterns(request: Request[Any], name: str) -> frozenset[str]:
    """Names, or beginnings of names that end with `*`, with commas between. Raises Invalid or TooLarge."""
    text = request.query(name)
    if text is None:
        return frozenset()
    found = frozenset(check_id(one, name) for one in text.split(","))
    if len(found) > PATTERNS:
        raise Invalid(f"{name} has {len(found)} names; the limit is {PATTERNS}")
    return found


def flag(request: Request[Any], name: str) -> bool:
    """`true` or `false`; false when it is not there. Raises Invalid."""
    text = request.query(name)
    if text not in (None, "true", "false"):
        raise Invalid(f"{name} must be true or false, not {(text or '')[:40]!r}")
    return text == "true"


def optional_number(request: Request[Any], name: str) -> int | None:
    """A whole number of the query, or None. Raises Invalid."""
    text = request.query(name)
    return None if text is None else whole_number(text, name, 0)


def whole_number(text: str, name: str, low: int, high: int = LAST) -> int:
    """A whole number. Raises Invalid."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(LAST)) and low <= int(text) <= high):
        raise Invalid(f"{name} must be a whole number from {low} to {high}, not {text[:40]!r}")
    return int(text)


def refuse_unknown(request: Request[Any], known: frozenset[str]) -> None:
    """A word that is not known would be passed over in silence, and the answer be another one than was asked for."""
    unknown = sorted(set(request.http.query_params) - known)
    if unknown:
        raise Invalid(f"there is no parameter {unknown[0][:40]!r} here; there are {', '.join(sorted(known))}")
