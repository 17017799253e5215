# SPDX-License-Identifier: Apache-2.0
"""The state of a stream at any time, folded by a projection of the app."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nerv.app import App, ProjectionSpec
from nerv.cloudevents import from_proto
from nerv.errors import NotFound
from nerv.history import fold_stream, valid_time_order
from nerv.protocols import ReadQuery
from nerv.types import category_of, format_instant
from nerv_temporal.index import Index
from nerv_temporal.reads import LAST_VERSION, matcher


@dataclass(frozen=True, slots=True)
class StateQuery:
    """Which state of a stream: by version, by valid time (`as_of`), by recorded time (`known_at`)."""

    projection: str | None = None
    version: int | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None


def projection_for(app: App, stream: str, name: str | None) -> ProjectionSpec:
    """The projection that folds a stream's state: the one named, or the one of the stream's category."""
    if name is not None:
        if name not in app.projections:
            raise NotFound(f"app {app.name} has no projection {name}; it has {', '.join(app.projections) or 'none'}")
        return app.projections[name]
    category = category_of(stream)
    found = [p for p in app.projections.values() if p.category == category]
    if len(found) == 1:
        return found[0]
    choices = ", ".join(p.name for p in found or app.projections.values()) or "none"
    raise NotFound(f"say which projection folds {stream} (projection=...): {choices}")


def state_of(index: Index, app: App, stream: str, query: StateQuery) -> dict[str, Any]:
    """The state of a stream as the query asks, JSON-able through the state's own type by the caller.

    Valid time folds by (time, version), a version by version. Raises NotFound, SchemaMismatch.
    """
    if index.version(stream) == 0:
        raise NotFound(f"there is no stream {stream}")
    projection = projection_for(app, stream, query.projection)
    bounds = ReadQuery(to_version=query.version, as_of=query.as_of, known_at=query.known_at)
    matches = matcher(bounds)
    last = LAST_VERSION if query.version is None else query.version
    events = [from_proto(e) for e in index.events(stream, 1, last, backward=False) if matches(e)]
    if query.as_of is not None:
        events.sort(key=valid_time_order)
    return {
        "stream": stream,
        "projection": projection.name,
        "version": max((event.sequence or 0 for event in events), default=0),
        "events": len(events),
        "as_of": format_instant(query.as_of) if query.as_of else None,
        "known_at": format_instant(query.known_at) if query.known_at else None,
        "state": fold_stream(app, projection, events),
    }
