# SPDX-License-Identifier: Apache-2.0
"""Fold events into a state: the same function for views, as-of reads, rebuilds and tests."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from nerv.app import App, ProjectionSpec
from nerv.types import Event


def valid_time_order(event: Event[Any]) -> tuple[datetime, int]:
    """The order of an as-of fold: by when it happened, then by version."""
    return event.time, event.sequence or 0


def fold_stream(app: App, projection: ProjectionSpec, events: Iterable[Event[bytes]]) -> Any:
    """The state that a projection folds of these events, in the order given; None before the first.

    Types that the projection does not fold are passed over. Raises SchemaMismatch, or what the fold raises.
    """
    types = frozenset(app.folded(projection))
    state: Any = None
    for event in events:
        if event.type in types:
            state = projection.function(state, app.decode(event))
    return state
