# SPDX-License-Identifier: Apache-2.0
"""Reading over HTTP: the events of a stream, and of many."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from starlette.responses import Response, StreamingResponse

from nerv.api.event.v1 import event_pb2
from nerv.cloudevents import from_proto, to_structured
from nerv.cloudevents.proto_format import to_us
from nerv.service import Request, respond
from nerv.types import check_id, format_instant
from nerv_temporal.api.deps import Deps
from nerv_temporal.api.fitness import fit, reach
from nerv_temporal.api.formats import Format
from nerv_temporal.api.query import (
    Asked,
    asked_of_many,
    asked_of_stream,
)
from nerv_temporal.index import Index
from nerv_temporal.positions import Position, Ranges
from nerv_temporal.reads import LogReader, Reader, StreamReader, first_offset

SLICES = 40  # that one page looks at, whether or not their events match: an answer comes in bounded time
PAGE_BYTES = 4 * 1024 * 1024


async def read_stream(request: Request[Deps]) -> Response:
    """GET /v1/streams/{stream}/events: the events of one stream, a page or as they come."""
    deps = request.deps
    stream = check_id(request.path("stream"), "stream")
    asked = asked_of_stream(request, deps.settings.partitions)
    partition = deps.router.partition(stream)
    known_at = (await fit(request, [partition], asked.freshness))[partition].known_at
    index = deps.tail.index
    if asked.follow:
        first = index.version(stream) + 1 if asked.from_end else asked.query.from_version
        reader = StreamReader(index, stream, replace(asked.query, from_version=first))
        return _streamed(deps, asked, reader, [partition], None)
    reader = StreamReader.existing(index, stream, replace(asked.query, known_at=known_at))
    if asked.format.streamed:
        return _streamed(deps, asked, reader, [partition], known_at)
    return _page(asked, reader, known_at)


async def read_many(request: Request[Deps]) -> Response:
    """GET /v1/streams: the events of a category, or of all streams, in the order of recording; a page or as they come."""
    deps = request.deps
    asked = asked_of_many(request, deps.settings.partitions)
    partitions = range(deps.settings.partitions)
    ranges = asked.left
    if ranges is None:
        await reach(deps, {partition: offset - 1 for partition, offset in (asked.start or {}).items()})
        points = await fit(request, partitions, asked.freshness)
        ranges = ranges_of(deps.tail.index, asked, {p: point.next_offset for p, point in points.items()})
    else:  # another replica may have answered the page before
        await reach(deps, {partition: high - 1 for partition, (_, high) in ranges.items()})
    reader = LogReader(deps.tail.index, ranges, asked.category, asked.query)
    if asked.format.streamed:
        return _streamed(deps, asked, reader, partitions, asked.query.known_at)
    return _page(asked, reader, asked.query.known_at)


def ranges_of(index: Index, asked: Asked, ends: Position) -> Ranges:
    """The offsets that a read looks at, up to the ends: those of its instants are searched for, not read through.

    An end may stand before the start: an owner that was deposed a moment ago, or an instant, may not know of what the reader
    has. Then there is nothing to read, and the reader goes on where it was: going back would give it events twice.
    """
    query, ranges = asked.query, {}
    for partition, end in ends.items():
        low, high = end if asked.from_end else (asked.start or {}).get(partition, 0), end
        if query.recorded_from is not None:
            low = max(low, first_offset(index, partition, to_us(query.recorded_from)))
        if query.known_at is not None:
            high = min(high, first_offset(index, partition, to_us(query.known_at) + 1))
        ranges[partition] = (low, max(low, high))
    return ranges


def _streamed(
    deps: Deps, asked: Asked, reader: Reader, partitions: Sequence[int], known_at: datetime | None
) -> Response:
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"} | holds_at(known_at)
    return StreamingResponse(deps.feeds.open(asked, reader, partitions), 200, headers, asked.format.value)


def _page(asked: Asked, reader: Reader, known_at: datetime | None) -> Response:
    found: list[event_pb2.Event] = []
    size = 0
    position = reader.position
    for _ in range(SLICES):
        if reader.done or len(found) == asked.limit or size > PAGE_BYTES:
            break
        slice_ = reader.slice(asked.limit - len(found))
        found += slice_
        size += sum(len(event.data) for event in slice_)
    if not asked.query.backward:
        position = reader.position
    token = None if reader.done else reader.token
    headers = holds_at(known_at) if token is None else {"nerv-next": token, **holds_at(known_at)}
    if asked.format is Format.PROTOBUF:
        message = event_pb2.EventBatch(events=found)
        return Response(message.SerializeToString(), 200, headers, Format.PROTOBUF.value)
    return respond(
        {"events": [to_structured(from_proto(e)) for e in found], "next": token, "position": position}, headers=headers
    )


def holds_at(known_at: datetime | None) -> dict[str, str]:
    """The recorded instant that an answer holds for: asked as known then, it is the same for ever."""
    return {} if known_at is None else {"nerv-known-at": format_instant(known_at)}
