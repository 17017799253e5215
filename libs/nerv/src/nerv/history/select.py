# SPDX-License-Identifier: Apache-2.0
"""Which events a query selects."""

from datetime import datetime
from typing import Any

from nerv.errors import Invalid
from nerv.protocols import Clock
from nerv.protocols.history import ReadQuery
from nerv.types import Event, format_instant


def matches(event: Event[Any], query: ReadQuery) -> bool:
    """Whether an event of history is within the bounds of a query (its limit and direction aside)."""
    version = event.sequence or 0
    if version < query.from_version or (query.to_version is not None and version > query.to_version):
        return False
    if query.types and event.type not in query.types:
        return False
    if query.as_of is not None and event.time > query.as_of:
        return False
    return query.known_at is None or event.recorded_time is None or event.recorded_time <= query.known_at


def not_future(known_at: datetime, clock: Clock) -> None:
    """Raises Invalid for an instant that has not come: nobody knows yet what will be known then."""
    if known_at > clock.now():
        raise Invalid(f"known_at {format_instant(known_at)} lies in the future; ask again then, or leave it out")
