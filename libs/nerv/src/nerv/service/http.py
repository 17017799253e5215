# SPDX-License-Identifier: Apache-2.0
"""One way in: every route authenticates, bounds its body, gets its span, and answers errors as problem+json."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import structlog
from opentelemetry.trace import StatusCode, get_current_span
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from nerv.boundary import cross
from nerv.errors import (
    Internal,
    Invalid,
    NervError,
    NotFound,
    Overloaded,
    Refused,
    TooLarge,
    Unavailable,
    UnknownOutcome,
)
from nerv.limits import Limits
from nerv.service.auth import Authenticator
from nerv.service.openapi import PROBLEM, openapi
from nerv.service.params import SHOWN
from nerv.service.routes import Request, Route, headers_of, query_words_of, respond
from nerv.telemetry import Carrier, arriving, histogram, span_of_request
from nerv.telemetry import names as n
from nerv.telemetry.distributions import Series
from nerv.types import Description

log = structlog.get_logger(__name__)

COMPONENTS = "/.well-known/nerv/components"
OPENAPI = "/openapi.json"
LOOKING = "mesh:read"  # the scope of what only tells of the mesh
BODILESS = ("GET", "HEAD", "DELETE")

_durations = histogram(n.REQUEST_DURATION)


def problem(error: NervError, instance: str) -> Response:
    """An error as RFC 9457 problem details."""
    headers = {}
    if isinstance(error, Unavailable) or error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after or 1)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(orjson.dumps(error.problem(instance), default=str), error.status, headers, PROBLEM)


def application(
    routes: Sequence[Route],
    deps: Any,
    authenticator: Authenticator,
    limits: Limits,
    describe: Callable[[], Description] = lambda: Description("Service", "service"),
    cors_origins: Sequence[str] = (),
) -> ASGIApp:
    """The ASGI app of a service's API. There is no other way to a handler than through the door made here.

    Pages of `cors_origins` may call it from a browser, with a token; of others none may.

    Beside the service's own routes it has COMPONENTS, which answers what `describe` says, with every door and their intake for
    parts, and OPENAPI, the document of them all.
    """

    async def components(request: Request[Any]) -> Response:
        """GET /.well-known/nerv/components: what the parts of this replica say of themselves."""
        told = describe()
        ways = (intake.describe(), *(door.describe() for door in doors.values()))
        return respond(replace(told, parts=(*told.parts, *ways)).to_dict())

    async def document(request: Request[Any]) -> Response:
        """GET /openapi.json: this document."""
        return respond(openapi(describe().name, table))

    table = (
        *routes,
        Route("GET", COMPONENTS, components, "mesh:read"),
        Route("GET", OPENAPI, document, "mesh:read"),
    )
    intake = Intake(limits.bodies)
    doors = {route: Door(route, deps, authenticator, limits, intake) for route in table}
    made = [_Way(route.path, door, methods=[route.method]) for route, door in doors.items()]
    # The router alone, without what an application of Starlette puts around it: a door answers all that goes wrong behind it.
    # A path with a slash too many is none: Starlette would answer where to go, by the Host header, to anybody.
    return Router(made, default=_nowhere, redirect_slashes=False, middleware=_cors(cors_origins))


def _cors(origins: Sequence[str]) -> list[Middleware]:
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=["etag", "location", "retry-after"],
            allow_credentials=False,  # who asks is said by a token, never by a cookie
        )
    ]


class _Way(StarletteRoute):
    """The way to a door, by path and method."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go there, or say that there is none for this method."""
        if self.methods and scope["method"] not in self.methods:
            error = MethodNotAllowed(f"{scope['method']} is not allowed on {scope['path']}")
            await problem(error, scope["path"])(scope, receive, send)
            return
        await self.app(scope, receive, send)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    await problem(NotFound(f"there is no {scope['path']}; see /.well-known/nerv"), scope["path"])(scope, receive, send)


class MethodNotAllowed(Refused):
    """The path is right, the method is not."""

    status = 405
    title = "Method not allowed"


class Intake:
    """The bodies that are being read, of all doors of a service: together no more than `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0

    def take(self, size: int) -> None:
        """So many come. Raises Overloaded."""
        if self._taken + size > self._most:
            raise Overloaded(
                f"{self._taken} bytes of requests are being read; the limit is {self._most} (NERV_LIMITS__BODIES)",
                retry_after=1.0,
            )
        self._taken += size

    def give_back(self, size: int) -> None:
        """So many are read, or will not come."""
        self._taken -= size

    def describe(self) -> Description:
        """What is being read as data: how many bytes, and how many may be."""
        return Description("Intake", "bodies", counters={"bytes": self._taken, "limit": self._most})


class Door:
    """The boundary in front of one route (`nerv.protocols.Boundary`): who asks, whether they may, how much they send."""

    def __init__(
        self, route: Route, deps: Any, authenticator: Authenticator, limits: Limits, intake: Intake | None = None
    ) -> None:
        """`intake` is shared by the doors of a service."""
        self.name = n.http(route.method, route.path)
        self._told = {n.HTTP_METHOD: route.method, n.HTTP_ROUTE: route.path}
        self._begins = route.scope != LOOKING  # who looks at the mesh begins no trace of it
        self._route, self._deps, self._authenticator, self._limits = route, deps, authenticator, limits
        self._intake = intake or Intake(limits.bodies)
        self._words = {param.name for param in route.takes if param.place == "query"}
        self._counters: Counter[str] = Counter()
        self._measured: dict[int, Series] = {}  # by status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request (ASGI). Whatever happens is answered here, so that nothing has to stand around this."""
        request = StarletteRequest(scope, receive, send)
        began = time.perf_counter()
        came = arriving(scope["headers"], begin=self._begins)
        answer = await (self._answer(request) if came is None else self._traced(request, came))
        (self._measured.get(answer.status_code) or self._series(answer.status_code)).record(time.perf_counter() - began)
        await answer(scope, receive, send)

    def _series(self, status: int) -> Series:
        return self._measured.setdefault(status, _durations.of({**self._told, n.HTTP_STATUS: status}))

    async def _traced(self, request: StarletteRequest, came: Carrier) -> Response:
        with span_of_request(self.name, came, self._told) as current:
            answer = await self._answer(request)
            if current.is_recording():
                current.set_attribute(n.HTTP_STATUS, answer.status_code)
                if answer.status_code >= 500:  # a refusal is no error of ours
                    current.set_status(StatusCode.ERROR)
            return answer

    async def _answer(self, request: StarletteRequest) -> Response:
        try:
            return await cross(self, request)
        except asyncio.CancelledError:
            # The service ends and has no more time for this request: what it has done by now nobody can say.
            return problem(_cut_off(request.method), request.url.path)

    async def validate(self, raw: StarletteRequest) -> Request[Any]:
        """The request with who sent it and its bounded body. Raises Unauthenticated, Forbidden, TooLarge or Invalid."""
        scope, route = raw.scope, self._route
        _check_head(scope, self._limits)
        headers, path = headers_of(scope), scope["path_params"]
        principal = await self._authenticator.principal(headers.get("authorization"))
        route.admit(principal, path)
        words = query_words_of(scope)
        if words:
            self._refuse_unknown(words)
        if route.streams and route.reads(headers.get("content-type", "")):
            return Request(self._deps, principal, b"", path, words, headers, raw.stream)
        body = b"" if scope["method"] in BODILESS else await _body(raw, headers, self._limits.body, self._intake)
        return Request(self._deps, principal, body, path, words, headers)

    def _refuse_unknown(self, words: Sequence[tuple[str, str]]) -> None:
        # A word that is not known would be passed over in silence, and the answer be another one than was asked for.
        if unknown := sorted({word for word, _ in words} - self._words):
            known = ", ".join(sorted(self._words)) or "none"
            raise Invalid(f"there is no parameter {unknown[0][:SHOWN]!r} here; there are: {known}")

    async def process(self, valid: Request[Any]) -> Response:
        """What the route's handler answers."""
        answer = await self._route.handler(valid)
        self._counters["answered"] += 1
        return answer

    async def handle(self, raw: StarletteRequest, error: Exception) -> Response:
        """The error as problem details. Of one that nobody foresaw the details are in the log alone."""
        if isinstance(error, ClientDisconnect):
            return Response(status_code=499)
        self._counters["refused" if isinstance(error, NervError) else "failed"] += 1
        get_current_span().set_attribute(n.ERROR_TYPE, type(error).__name__)
        if isinstance(error, NervError):
            return problem(error, raw.url.path)
        log.error("request.failed", route=self.name, exc_info=error)
        return problem(Internal("something went wrong on our side; the log has the details"), raw.url.path)

    def describe(self) -> Description:
        """The door as data."""
        return Description("Door", self.name, inputs=(self._route.scope,), counters=dict(self._counters))


def _cut_off(method: str) -> NervError:
    if method in ("GET", "HEAD"):
        return Unavailable("the service is stopping; send it again", retry_after=1.0)
    return UnknownOutcome("the service is stopping, and did not see the end of this; repeat it with the same ids")


def _check_head(scope: Scope, limits: Limits) -> None:
    """Refuse an address or headers over the limits, before anything of them is parsed."""
    address = len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))
    if address > limits.address:
        raise TooLarge(f"the address has {address} characters; the limit is {limits.address} (NERV_LIMITS__ADDRESS)")
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if len(headers) > limits.headers:
        raise TooLarge(f"the request has {len(headers)} headers; the limit is {limits.headers} (NERV_LIMITS__HEADERS)")
    for name, value in headers:
        if len(name) + len(value) > limits.header:
            raise TooLarge(
                f"header {name[:SHOWN].decode('latin-1')} has {len(name) + len(value)} characters; "
                f"the limit is {limits.header} (NERV_LIMITS__HEADER)"
            )


async def _body(request: StarletteRequest, headers: Mapping[str, str], limit: int, intake: Intake) -> bytes:
    """The body, read only as far as the limit, and while there is room for it."""
    length = headers.get("content-length", "")
    expected = int(length) if length.isdigit() else limit
    if expected > limit:
        raise TooLarge(f"the body has {length} bytes; the limit is {limit} (NERV_LIMITS__BODY)")
    if headers.get("content-encoding", "identity") != "identity":
        raise Invalid("send the body without content-encoding")
    intake.take(expected)
    try:
        return await _read(request, limit)
    finally:
        intake.give_back(expected)


async def _read(request: StarletteRequest, limit: int) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:  # what Starlette's stream does, without a step for the end: most bodies come in one piece
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > limit:
            raise TooLarge(f"the body has more than {limit} bytes (NERV_LIMITS__BODY)")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
