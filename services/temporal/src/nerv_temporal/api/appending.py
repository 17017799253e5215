# SPDX-License-Identifier: Apache-2.0
"""Appending over HTTP: CloudEvents to one stream, or many requests as protobuf."""

from dataclasses import replace

from starlette.responses import Response

from nerv.api.history.v1 import history_pb2
from nerv.client.streams import PROTOBUF
from nerv.cloudevents.http_binding import from_http
from nerv.errors import Forbidden, Invalid, NervError
from nerv.protocols import Appended, AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv.service import Request, respond
from nerv.service.forwarding import passed_on
from nerv.service.params import Body, header, text
from nerv.telemetry import marked
from nerv.types import Principal, check_id, format_instant
from nerv_temporal.api.deps import Deps
from nerv_temporal.wire import check_append, read_batch, reply_to

EXPECTED = text(
    "expected_version", "any (where it is left out), none, exists, or the version that the stream must be at."
)
APPENDS = Body({PROTOBUF: {"type": "string", "format": "binary"}}, "A nerv.api.history.v1.AppendBatch.")
IF_MATCH = header("if-match", "The expected version, as an entity tag.")


async def append_batch(request: Request[Deps]) -> Response:
    """POST /v1/streams: many append requests (protobuf), each with an outcome of its own."""
    deps = request.deps
    if (request.header("content-type") or "").partition(";")[0] != PROTOBUF:
        raise Invalid(f"send a nerv.api.history.v1.AppendBatch as {PROTOBUF}, or POST to /v1/streams/<stream>/events")
    read = read_batch(request.body, deps.app, deps.settings.limits)
    read = [_permitted(request.principal, one) for one in read]
    good = [_traced(one) for one in read if isinstance(one, AppendRequest)]
    done = iter(await deps.router.append(good, passed_on(request)))
    outcomes = [one if isinstance(one, NervError) else next(done) for one in read]
    reply = history_pb2.AppendBatchReply(replies=[reply_to(o, deps.settings.history) for o in outcomes])
    return Response(reply.SerializeToString(), 200, media_type=PROTOBUF)


def _permitted(principal: Principal, one: AppendRequest | NervError) -> AppendRequest | NervError:
    if isinstance(one, NervError) or principal.may("streams:append", one.stream):
        return one
    return Forbidden(f"{principal.subject} lacks the scope streams:append:{one.stream}; ask for a token that has it")


def _traced(one: AppendRequest) -> AppendRequest:
    events = marked(one.events)
    return one if events is one.events else replace(one, events=events)


async def append(request: Request[Deps]) -> Response:
    """POST /v1/streams/{stream}/events: append CloudEvents (structured, batch, binary) to one stream, all or none."""
    deps = request.deps
    events = from_http(request.headers, request.body, deps.settings.limits, require_time=True)
    expected = _expected(request)
    one = AppendRequest(check_id(request.path("stream"), "stream"), marked(events), expected)
    check_append(one, deps.app, deps.settings.limits)
    [outcome] = await deps.router.append([one], passed_on(request))
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


def _expected(request: Request[Deps]) -> Expected:
    """By `expected_version`, or by If-Match: an entity tag of an earlier answer, or `*` for a stream that exists."""
    word, tag = request.get(EXPECTED), request.get(IF_MATCH)
    if tag is None:
        return Expected.parse("any" if word is None else word)
    if word is not None:
        raise Invalid("give expected_version or If-Match, not both")
    if tag == "*":
        return Expected(Expect.EXISTS)
    version = Expected.parse(tag[1:-1]) if len(tag) > 2 and tag[0] == tag[-1] == '"' else None
    if version is None or version.kind is not Expect.EXACT:
        raise Invalid(f'If-Match must be the ETag of an earlier answer, such as "3", or *, not {tag[:40]!r}')
    return version
