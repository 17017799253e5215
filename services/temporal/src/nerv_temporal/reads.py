# SPDX-License-Identifier: Apache-2.0
"""What can be read of history: pages of a stream, pages of many streams, the state of a stream at any time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from nerv.api.event.v1 import event_pb2
from nerv.app import App, ProjectionSpec
from nerv.cloudevents import from_proto
from nerv.cloudevents.proto_format import to_us
from nerv.errors import NotFound
from nerv.history import fold_stream, valid_time_order
from nerv.protocols import ReadQuery
from nerv.types import category_of, format_instant
from nerv_temporal.index import Index

LAST_VERSION = 2**63 - 1
PAGE_BYTES = 4 * 1024 * 1024
SCAN = 20_000  # events that one request looks at, whether or not they match: an answer comes in bounded time

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Events, and where the next page begins; None at the end."""

    events: list[event_pb2.Event]
    next: str | None = None


def _matcher(query: ReadQuery) -> Callable[[event_pb2.Event], bool]:
    """The query's bounds on messages: nothing is decoded for an event that is not wanted."""
    as_of = None if query.as_of is None else to_us(query.as_of)
    known_at = None if query.known_at is None else to_us(query.known_at)
    types = query.types

    def matches(event: event_pb2.Event) -> bool:
        return (
            (not types or event.type in types)
            and (as_of is None or event.time_us <= as_of)
            and (known_at is None or event.recorded_time_us <= known_at)
        )

    return matches


def stream_page(index: Index, stream: str, query: ReadQuery, limit: int) -> Page:
    """A page of one stream. Raises NotFound for a stream that does not exist."""
    if index.version(stream) == 0:
        raise NotFound(f"there is no stream {stream}")
    last = LAST_VERSION if query.to_version is None else query.to_version
    events = index.events(stream, query.from_version, last, backward=query.backward)
    return _page(events, _matcher(query), limit, lambda e: str(e.sequence))


def category_page(
    index: Index, category: str | None, query: ReadQuery, limit: int, after: tuple[str, int] | None
) -> Page:
    """A page of many streams, by stream and version. A page may be empty and still have a next one."""
    events = index.category(category, after)
    return _page(events, _matcher(query), limit, lambda e: f"{e.sequence}/{e.subject}")


def _page(
    events: Iterator[event_pb2.Event],
    matches: Callable[[event_pb2.Event], bool],
    limit: int,
    token: Callable[[event_pb2.Event], str],
) -> Page:
    found: list[event_pb2.Event] = []
    size = 0
    for event in islice(events, SCAN):
        if matches(event):
            found.append(event)
            size += len(event.data)
        if len(found) == limit or size > PAGE_BYTES:
            return Page(found, token(event))
    else:
        if next(events, None) is not None:
            return Page(found, token(event))  # the scan ended before the events did
    return Page(found)


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
    matches = _matcher(bounds)
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


def bounded(query: ReadQuery, cursor: int | None) -> ReadQuery:
    """The query from where the last page ended."""
    if cursor is None:
        return query
    if query.backward:
        return replace(query, to_version=cursor - 1)
    return replace(query, from_version=cursor + 1)
