# SPDX-License-Identifier: Apache-2.0
"""Which events a query selects."""

from collections.abc import Callable, Set
from datetime import datetime, timedelta
from typing import Any

from nerv.errors import Invalid
from nerv.protocols import Clock
from nerv.protocols.history import ReadQuery
from nerv.types import Event, format_instant


def named(patterns: Set[str]) -> Callable[[str], bool]:
    """Whether a name is one of the patterns, or begins as one that ends with `*` says; no patterns: every name."""
    exact = frozenset(p for p in patterns if not p.endswith("*"))
    beginnings = tuple(p[:-1] for p in patterns if p.endswith("*"))
    if not patterns:
        return lambda _: True
    if not beginnings:
        return exact.__contains__
    return lambda name: name in exact or name.startswith(beginnings)


def selector(query: ReadQuery) -> Callable[[Event[Any]], bool]:
    """Whether an event of history is within the bounds of a query (its limit and direction aside)."""
    types, streams = named(query.types), named(query.streams)
    first, last = query.from_version, query.to_version

    def selects(event: Event[Any]) -> bool:
        version = event.sequence or 0
        return (
            version >= first
            and (last is None or version <= last)
            and types(event.type)
            and (not query.streams or streams(event.stream))
            and (query.as_of is None or event.time <= query.as_of)
            and _recorded(event.recorded_time, query)
        )

    return selects


def _recorded(recorded: datetime | None, query: ReadQuery) -> bool:
    if recorded is None:
        return query.recorded_from is None
    return (query.known_at is None or recorded <= query.known_at) and (
        query.recorded_from is None or recorded >= query.recorded_from
    )


def not_future(known_at: datetime, clock: Clock, skew: float = 0.0) -> None:
    """Raises Invalid for an instant that has not come: nobody knows yet what will be known then.

    `skew` is by how many seconds the clock by which somebody took the instant may be ahead of ours.
    """
    if known_at > clock.now() + timedelta(seconds=skew):
        raise Invalid(f"known_at {format_instant(known_at)} lies in the future; ask again then, or leave it out")


def check_subscription(after: str | None, query: ReadQuery) -> int:
    """What a subscription may ask for, and the number that a position of ours is. Raises Invalid."""
    if query.backward or query.to_version is not None or query.as_of is not None or query.known_at is not None:
        raise Invalid("a subscription goes on for ever: leave out backward, to_version, as_of and known_at")
    return 0 if after is None else _position(after)


def check_positions(after: str, until: str) -> tuple[int, int]:
    """The numbers that two positions of ours are. Raises Invalid for a second one that is not later."""
    low, high = _position(after), _position(until)
    if low > high:
        raise Invalid(f"position {high} is before {low}; this history has not come so far")
    return low, high


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid(f"after must be the position of an earlier event, not {text[:60]!r}")
    return int(text)
