# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of temporal; the table of routes is at the foot."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from pydantic_core import to_jsonable_python
from starlette.responses import Response

from nerv.api.event.v1 import event_pb2
from nerv.api.history.v1 import history_pb2
from nerv.app import App
from nerv.client.streams import PROTOBUF
from nerv.cloudevents import from_proto, to_structured
from nerv.cloudevents.http_binding import from_http
from nerv.cloudevents.proto_format import to_us
from nerv.errors import Invalid, NervError
from nerv.history.select import not_future
from nerv.protocols import Appended, AppendRequest, Clock, Expected, ReadQuery
from nerv.service import Request, Route, respond
from nerv.service.describe import describe
from nerv.types import check_id, format_instant, parse_instant
from nerv_temporal.owner import Owners
from nerv_temporal.reads import Page, StateQuery, bounded, category_page, state_of, stream_page
from nerv_temporal.router import FORWARDED, Router
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.tail import Tail
from nerv_temporal.wire import check_append, read_batch, reply_to

PAGE_LIMIT = 1000
POSITION_SECONDS = 5.0  # how long a read waits for the position that it asks for


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: TemporalSettings
    app: App
    router: Router
    owners: Owners
    tail: Tail
    clock: Clock


async def append_batch(request: Request[Deps]) -> Response:
    """POST /v1/streams: many append requests (protobuf), each with an outcome of its own."""
    deps = request.deps
    if (request.header("content-type") or "").partition(";")[0] != PROTOBUF:
        raise Invalid(f"send a nerv.api.history.v1.AppendBatch as {PROTOBUF}, or POST to /v1/streams/<stream>/events")
    read = read_batch(request.body, deps.app, deps.settings.limits)
    good = [one for one in read if isinstance(one, AppendRequest)]
    done = iter(await deps.router.append(good, _forwarded_headers(request)))
    outcomes = [one if isinstance(one, NervError) else next(done) for one in read]
    reply = history_pb2.AppendBatchReply(replies=[reply_to(o, deps.settings.history) for o in outcomes])
    return Response(reply.SerializeToString(), 200, media_type=PROTOBUF)


async def append(request: Request[Deps]) -> Response:
    """POST /v1/streams/{stream}/events: append CloudEvents (structured, batch, binary) to one stream, all or none."""
    deps = request.deps
    headers = {name.lower(): value for name, value in request.http.headers.items()}
    events = from_http(headers, request.body, deps.settings.limits, require_time=True)
    expected = Expected.parse(request.query("expected_version") or _if_match(request) or "any")
    one = AppendRequest(check_id(request.path("stream"), "stream"), events, expected)
    check_append(one, deps.app, deps.settings.limits)
    [outcome] = await deps.router.append([one], _forwarded_headers(request))
    if not isinstance(outcome, Appended):
        raise outcome
    document = {
        "stream": one.stream,
        "first_version": outcome.first_version,
        "last_version": outcome.last_version,
        "position": f"{outcome.partition}:{outcome.offset}",
        "recorded_time": format_instant(outcome.recorded_time),
        "duplicate": outcome.duplicate,
    }
    return respond(document, 200 if outcome.duplicate else 201, {"etag": f'"{outcome.last_version}"'})


def _if_match(request: Request[Deps]) -> str | None:
    value = request.header("if-match")
    return None if value is None else value.strip('"')


async def read_stream(request: Request[Deps]) -> Response:
    """GET /v1/streams/{stream}/events: a page of one stream."""
    deps = request.deps
    stream = check_id(request.path("stream"), "stream")
    query = _read_query(request)
    limit = request.number("limit", 100, low=1, high=PAGE_LIMIT)
    cursor = request.number("cursor", 0, low=0, high=2**63 - 1) if request.query("cursor") else None
    forwarded = await _prepare(request, deps.router.partition(stream), query.known_at)
    if forwarded is not None:
        return forwarded
    page = stream_page(deps.tail.index, stream, bounded(query, cursor), limit)
    return _answer_page(request, page, page.next)


async def read_category(request: Request[Deps]) -> Response:
    """GET /v1/streams: a page of the events of many streams, by stream and version."""
    deps = request.deps
    query = _read_query(request)
    limit = request.number("limit", 100, low=1, high=PAGE_LIMIT)
    after = _decode_token(request.query("after"))
    if after is None and query.known_at is None:
        await deps.router.level(_forwarded_headers(request), POSITION_SECONDS)
    elif after is None and query.known_at is not None:
        for partition in range(deps.settings.partitions):
            await _close(request, partition, query.known_at)
    page = category_page(deps.tail.index, request.query("category"), query, limit, after)
    return _answer_page(request, page, _encode_token(page.next))


async def state(request: Request[Deps]) -> Response:
    """GET /v1/streams/{stream}/state: what a projection folds of a stream, as of a version or an instant."""
    deps = request.deps
    stream = check_id(request.path("stream"), "stream")
    version = request.number("version", 0, low=0, high=2**63 - 1) if request.query("version") else None
    query = StateQuery(request.query("projection"), version, _instant(request, "as_of"), _instant(request, "known_at"))
    forwarded = await _prepare(request, deps.router.partition(stream), query.known_at)
    if forwarded is not None:
        return forwarded
    found = state_of(deps.tail.index, deps.app, stream, query)
    return respond(to_jsonable_python(found), headers={"etag": f'"{found["version"]}"'})


async def partitions(request: Request[Deps]) -> Response:
    """GET /v1/partitions: who owns what, and how far this replica's index has come."""
    deps = request.deps
    rows = []
    for number in range(deps.settings.partitions):
        covered = deps.tail.index.partition(number)
        owner = deps.router.owner(number)
        rows.append(
            {
                "partition": number,
                "owner": covered.address,
                "here": owner is not None,
                "take_overs": owner.take_overs if owner else 0,
                "next_offset": covered.next_offset,
            }
        )
    return respond({"partitions": rows})


async def close_partition(request: Request[Deps]) -> Response:
    """POST /v1/partitions/{partition}/closings?known_at=T: close recorded time at T; asked by other replicas."""
    text = request.path("partition")
    if not text.isdigit() or int(text) >= request.deps.settings.partitions:
        raise Invalid(f"there is no partition {text[:20]}")
    instant = _instant(request, "known_at")
    if instant is None:
        raise Invalid("say at which instant: known_at=...")
    return respond({"offset": await _close(request, int(text), instant)})


async def well_known(request: Request[Deps]) -> Response:
    """GET /.well-known/nerv: what this replica is."""
    deps = request.deps
    return respond(
        describe(
            "temporal",
            deps.settings,
            deps.app,
            reads=[deps.settings.history],
            writes=[deps.settings.history, deps.settings.barriers],
            owns=sorted(p for p, owner in deps.owners.owned().items() if owner.serving),
        )
    )


async def _prepare(request: Request[Deps], partition: int, known_at: datetime | None) -> Response | None:
    """Have this replica's index fit to answer for a partition, or get the answer from its owner.

    A position is waited for here, on any replica. Otherwise the owner answers; `consistency=strong` has it prove first
    that it still is the owner.
    """
    deps = request.deps
    position = request.query("min_position")
    consistency = request.query("consistency") or "default"
    if consistency not in ("default", "strong"):
        raise Invalid("consistency must be default or strong")
    if position is not None and consistency == "default" and known_at is None:
        await _reach(deps, position)
        return None
    if known_at is not None:
        not_future(known_at, deps.clock)

    async def attempt() -> Response | None:
        owner = deps.router.owner(partition)
        if owner is None:
            return await _forward(request, partition)
        if known_at is not None:
            await owner.close_at(to_us(known_at))
        elif consistency == "strong":
            await owner.barrier()
        return None

    return await deps.router.settled(_forwarded_headers(request), attempt)


async def _close(request: Request[Deps], partition: int, known_at: datetime) -> int:
    """Close a partition's recorded time, wherever its owner is, and read up to there."""
    deps = request.deps
    not_future(known_at, deps.clock)

    async def attempt() -> int:
        owner = deps.router.owner(partition)
        if owner is not None:
            return await owner.close_at(to_us(known_at))
        answer = await deps.router.forward(
            partition,
            "POST",
            f"/v1/partitions/{partition}/closings",
            {"known_at": format_instant(known_at)},
            _forwarded_headers(request),
        )
        return int(answer.json()["offset"])

    offset = await deps.router.settled(_forwarded_headers(request), attempt)
    await deps.tail.reached(partition, offset, POSITION_SECONDS)
    return offset


async def _reach(deps: Deps, position: str) -> None:
    partition, _, offset = position.partition(":")
    if not (partition.isdigit() and offset.isdigit() and int(partition) < deps.settings.partitions):
        raise Invalid(f"min_position must look like 2:1042 (partition:offset), not {position[:40]!r}")
    await deps.tail.reached(int(partition), int(offset), POSITION_SECONDS)


async def _forward(request: Request[Deps], partition: int) -> Response:
    answer = await request.deps.router.forward(
        partition,
        "GET",
        quote(request.http.url.path),
        dict(request.http.query_params),
        _forwarded_headers(request),
    )
    kept = {name: answer.headers[name] for name in ("nerv-next", "etag") if name in answer.headers}
    return Response(answer.body, answer.status, kept, answer.headers.get("content-type"))


def _forwarded_headers(request: Request[Deps]) -> dict[str, str]:
    names = ("authorization", "accept", FORWARDED)
    return {name: value for name in names if (value := request.header(name)) is not None}


def _read_query(request: Request[Deps]) -> ReadQuery:
    direction = request.query("direction") or "forward"
    if direction not in ("forward", "backward"):
        raise Invalid(f"direction must be forward or backward, not {direction[:40]!r}")
    types = request.query("types")
    return ReadQuery(
        from_version=request.number("from", 1, low=0, high=2**63 - 1),
        to_version=request.number("to", 0, low=0, high=2**63 - 1) if request.query("to") else None,
        backward=direction == "backward",
        types=frozenset(types.split(",")) if types else frozenset(),
        as_of=_instant(request, "as_of"),
        known_at=_instant(request, "known_at"),
    )


def _instant(request: Request[Deps], name: str) -> datetime | None:
    text = request.query(name)
    return None if text is None else parse_instant(text, name)


def _answer_page(request: Request[Deps], page: Page, token: str | None) -> Response:
    headers = {} if token is None else {"nerv-next": token}
    if request.header("accept") == PROTOBUF:
        return Response(event_pb2.EventBatch(events=page.events).SerializeToString(), 200, headers, PROTOBUF)
    return respond({"events": [to_structured(from_proto(e)) for e in page.events], "next": token}, headers=headers)


def _encode_token(token: str | None) -> str | None:
    return None if token is None else base64.urlsafe_b64encode(token.encode()).decode()


def _decode_token(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    try:
        version, _, stream = base64.urlsafe_b64decode(text).decode().partition("/")
        return check_id(stream, "after"), int(version)
    except (binascii.Error, ValueError):
        raise Invalid("after must be the `next` of an earlier answer") from None


ROUTES = (
    Route("POST", "/v1/streams", append_batch, "streams:append"),
    Route("GET", "/v1/streams", read_category, "streams:read"),
    Route("POST", "/v1/streams/{stream:path}/events", append, "streams:append"),
    Route("GET", "/v1/streams/{stream:path}/events", read_stream, "streams:read"),
    Route("GET", "/v1/streams/{stream:path}/state", state, "streams:read"),
    Route("GET", "/v1/partitions", partitions, "streams:read"),
    Route("POST", "/v1/partitions/{partition}/closings", close_partition, "streams:read"),
    Route("GET", "/.well-known/nerv", well_known, "mesh:read"),
)
