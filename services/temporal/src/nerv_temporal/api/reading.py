# SPDX-License-Identifier: Apache-2.0
"""Reading over HTTP: the events of a stream, of many streams, and the state of a stream."""

from pydantic_core import to_jsonable_python
from starlette.responses import Response

from nerv.api.event.v1 import event_pb2
from nerv.client.streams import PROTOBUF
from nerv.cloudevents import from_proto, to_structured
from nerv.service import Request, respond
from nerv.types import check_id
from nerv_temporal.api.deps import Deps, passed_on
from nerv_temporal.api.fitness import POSITION_SECONDS, close, prepare
from nerv_temporal.api.query import decode_token, encode_token, instant, read_query
from nerv_temporal.reads import Page, StateQuery, bounded, category_page, state_of, stream_page

PAGE_LIMIT = 1000


async def read_stream(request: Request[Deps]) -> Response:
    """GET /v1/streams/{stream}/events: a page of one stream."""
    deps = request.deps
    stream = check_id(request.path("stream"), "stream")
    query = read_query(request)
    limit = request.number("limit", 100, low=1, high=PAGE_LIMIT)
    cursor = request.number("cursor", 0, low=0, high=2**63 - 1) if request.query("cursor") else None
    forwarded = await prepare(request, deps.router.partition(stream), query.known_at)
    if forwarded is not None:
        return forwarded
    page = stream_page(deps.tail.index, stream, bounded(query, cursor), limit)
    return _answer_page(request, page, page.next)


async def read_category(request: Request[Deps]) -> Response:
    """GET /v1/streams: a page of the events of many streams, by stream and version."""
    deps = request.deps
    query = read_query(request)
    limit = request.number("limit", 100, low=1, high=PAGE_LIMIT)
    after = decode_token(request.query("after"))
    if after is None and query.known_at is None:
        await deps.router.level(passed_on(request), POSITION_SECONDS)
    elif after is None and query.known_at is not None:
        for partition in range(deps.settings.partitions):
            await close(request, partition, query.known_at)
    page = category_page(deps.tail.index, request.query("category"), query, limit, after)
    return _answer_page(request, page, encode_token(page.next))


async def state(request: Request[Deps]) -> Response:
    """GET /v1/streams/{stream}/state: what a projection folds of a stream, as of a version or an instant."""
    deps = request.deps
    stream = check_id(request.path("stream"), "stream")
    version = request.number("version", 0, low=0, high=2**63 - 1) if request.query("version") else None
    query = StateQuery(request.query("projection"), version, instant(request, "as_of"), instant(request, "known_at"))
    forwarded = await prepare(request, deps.router.partition(stream), query.known_at)
    if forwarded is not None:
        return forwarded
    found = state_of(deps.tail.index, deps.app, stream, query)
    return respond(to_jsonable_python(found), headers={"etag": f'"{found["version"]}"'})


def _answer_page(request: Request[Deps], page: Page, token: str | None) -> Response:
    headers = {} if token is None else {"nerv-next": token}
    if request.header("accept") == PROTOBUF:
        return Response(event_pb2.EventBatch(events=page.events).SerializeToString(), 200, headers, PROTOBUF)
    return respond({"events": [to_structured(from_proto(e)) for e in page.events], "next": token}, headers=headers)
