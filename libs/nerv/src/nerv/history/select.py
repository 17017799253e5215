# SPDX-License-Identifier: Apache-2.0
"""Which events a query selects."""

from typing import Any

from nerv.protocols.history import ReadQuery
from nerv.types import Event


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
