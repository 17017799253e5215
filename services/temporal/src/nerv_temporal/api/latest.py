# SPDX-License-Identifier: Apache-2.0
"""The newest events of many streams, by one request: point reads of what each stream holds."""

import asyncio

from starlette.responses import Response

from nerv.api.history.v1 import history_pb2
from nerv.client.streams import PROTOBUF
from nerv.errors import Forbidden, Invalid, TooLarge
from nerv.limits import Limits
from nerv.protocols import ReadQuery
from nerv.service import Request
from nerv.service.params import Body
from nerv.types import Principal, check_id
from nerv_temporal.api.deps import Deps
from nerv_temporal.api.fitness import fit
from nerv_temporal.api.query import CONSISTENCY, MIN_POSITION, freshness
from nerv_temporal.api.reading import PAGE_BYTES
from nerv_temporal.index import Index
from nerv_temporal.reads import StreamReader

LATEST = Body({PROTOBUF: {"type": "string", "format": "binary"}}, "A nerv.api.history.v1.LatestRequest.")
OF_LATEST = (CONSISTENCY, MIN_POSITION)
BREATH = 50  # streams that are looked up before the loop may do something else


async def latest(request: Request[Deps]) -> Response:
    """POST /v1/streams/latest: of each stream named (protobuf) its version and its newest event, of some types or of all.

    Streams that were deleted are answered as they were recorded. Of the last names there may be no answer: ask for them again.
    """
    deps = request.deps
    asked = _asked(request.body, deps.settings.limits)
    for stream in asked.streams:
        _permit(request.principal, check_id(stream, "stream"))
    partitions = sorted({deps.router.partition(stream) for stream in asked.streams})
    await fit(request, partitions, freshness(request, deps.settings.partitions))
    query = ReadQuery(backward=True, types=frozenset(asked.types))
    reply, size = history_pb2.LatestReply(), 0
    for number, stream in enumerate(asked.streams, 1):
        found = await _latest(deps.tail.index, stream, query)
        reply.streams.append(found)
        size += len(found.event.data)
        if size > PAGE_BYTES:
            break
        if number % BREATH == 0:
            await asyncio.sleep(0)
    return Response(reply.SerializeToString(), 200, media_type=PROTOBUF)


def _asked(body: bytes, limits: Limits) -> history_pb2.LatestRequest:
    try:
        asked = history_pb2.LatestRequest.FromString(body)
    except Exception as error:  # protobuf's DecodeError is not one type over its implementations
        raise Invalid(f"the body is not a nerv.api.history.v1.LatestRequest: {error}") from None
    if not 0 < len(asked.streams) <= limits.batch:
        kind = TooLarge if asked.streams else Invalid
        raise kind(f"ask for 1 to {limits.batch} streams at a time (NERV_LIMITS__BATCH), not {len(asked.streams)}")
    if len(asked.types) > limits.batch:
        raise TooLarge(f"ask for at most {limits.batch} types (NERV_LIMITS__BATCH), not {len(asked.types)}")
    return asked


def _permit(principal: Principal, stream: str) -> None:
    if not principal.may("streams:read", stream):
        raise Forbidden(
            f"{principal.subject} lacks the scope streams:read:{stream}; ask for a token that has it, or leave the stream out"
        )


async def _latest(index: Index, stream: str, query: ReadQuery) -> history_pb2.Latest:
    state, reader = index.stream(stream), StreamReader(index, stream, query)
    found = history_pb2.Latest(version=state.version, time_us=state.latest_us)
    while not reader.done:
        if events := reader.slice(1):
            found.event.CopyFrom(events[0])
            break
        await asyncio.sleep(0)  # it may be long, with none of these types near its end
    return found
