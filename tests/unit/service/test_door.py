# SPDX-License-Identifier: Apache-2.0
"""The one door of every service: who may pass, how big a body may be, and how errors look."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import pytest_asyncio
import uvicorn
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import RSAAlgorithm
from starlette.responses import Response
from starlette.types import ASGIApp, Message

from nerv.errors import Misconfigured, NervError, UnknownOutcome, VersionConflict
from nerv.limits import Limits
from nerv.service import Request, Route, respond
from nerv.service.auth import Authenticator, AuthSettings
from nerv.service.http import application
from nerv.service.params import text
from nerv.service.protocol import bounded
from nerv.types import Description
from tests.unit.service.asking import ask, bearer

ISSUER, AUDIENCE = "https://issuer.example", "nerv"


async def echo(request: Request[None]) -> Response:
    """Who asked, and how much was sent."""
    return respond(
        {"subject": request.principal.subject, "tenant": request.principal.tenant, "size": len(request.body)}
    )


HOW = text("how", "How to fail.")


async def fail(request: Request[None]) -> Response:
    """Fails as the query says."""
    errors: dict[str, Exception] = {
        "conflict": VersionConflict("a is at 2", errors=[{"version": 2}]),
        "unknown": UnknownOutcome("who knows"),
        "bug": RuntimeError("secret=hunter2"),
    }
    raise errors[request.get(HOW) or ""]


ROUTES = (Route("POST", "/v1/echo", echo, "things:write"), Route("GET", "/v1/fail", fail, "things:read", (HOW,)))


def app_with(settings: AuthSettings, *, insecure: bool = False, limits: Limits | None = None) -> ASGIApp:
    """The routes behind the door."""
    return application(ROUTES, None, Authenticator(settings, insecure=insecure), limits or Limits())


@pytest.fixture
def tokens(tmp_path: Path) -> AuthSettings:
    """Two static tokens: one may write, one may only read."""
    path = tmp_path / "tokens.json"
    documents = [
        {"token": "writer-token", "subject": "writer", "tenant": "acme", "scopes": ["things:write", "things:read"]},
        {"token": "reader-token", "subject": "reader", "scopes": ["things:read"]},
        {"token": "mesh-token", "subject": "operator", "scopes": ["mesh:read"]},
    ]
    path.write_text(json.dumps(documents))
    return AuthSettings(tokens_file=path)


def test_without_settings_nothing_starts() -> None:
    """Deny by default: no way to check a token, no service; NERV_INSECURE_DEV=1 is the only way around."""
    with pytest.raises(Misconfigured, match="NERV_AUTH__TOKENS_FILE"):
        Authenticator(AuthSettings(), insecure=False)
    Authenticator(AuthSettings(), insecure=True)
    with pytest.raises(Misconfigured, match="ISSUER"):
        Authenticator(AuthSettings(jwks_url="https://keys.example/jwks"), insecure=False)


def test_a_bad_tokens_file_is_named_without_its_content(tmp_path: Path) -> None:
    """The error names the file and the form, and shows no token."""
    path = tmp_path / "tokens.json"
    path.write_text('[{"token": "hunter2"}]')
    with pytest.raises(Misconfigured) as caught:
        Authenticator(AuthSettings(tokens_file=path), insecure=False)
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_static_tokens_decide(tokens: AuthSettings) -> None:
    """No token and a wrong one are 401, a token without the scope 403, the right one passes with its tenant."""
    app = app_with(tokens)
    for headers in ({}, bearer("wrong"), {"authorization": "Basic d3JpdGVy"}, {"authorization": "Bearer"}):
        answer = await ask(app, "POST", "/v1/echo", headers)
        assert answer.status == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
    refused = await ask(app, "POST", "/v1/echo", bearer("reader-token"))
    assert refused.status == 403
    assert "things:write" in refused.json["detail"]
    passed = await ask(app, "POST", "/v1/echo", bearer("writer-token"), b"12345")
    assert (passed.status, passed.json) == (200, {"subject": "writer", "tenant": "acme", "size": 5})


async def test_a_body_over_the_limit_is_refused_before_it_is_read(tokens: AuthSettings) -> None:
    """By its announced length and, where that lies, by what comes; a compressed one is not taken at all."""
    app = app_with(tokens, limits=Limits(body=10))
    for headers in ({}, {"content-length": "3"}):
        answer = await ask(app, "POST", "/v1/echo", {**bearer("writer-token"), **headers}, b"x" * 11)
        assert answer.status == 413
        assert "NERV_LIMITS__BODY" in answer.json["detail"]
    packed = await ask(app, "POST", "/v1/echo", {**bearer("writer-token"), "content-encoding": "gzip"}, b"x")
    assert packed.status == 400


async def test_all_bodies_together_are_bounded_while_they_are_read(tokens: AuthSettings) -> None:
    """One that does not say how long it is counts as long as it may be; what is read, or given up, makes room."""
    app = app_with(tokens, limits=Limits(body=10, bodies=15))
    announced = {**bearer("writer-token"), "content-length": "10"}
    for headers in (bearer("writer-token"), announced):
        slow = asyncio.create_task(never_ending(app, headers))
        await asyncio.sleep(0)
        refused = await ask(app, "POST", "/v1/echo", announced, b"x" * 10)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "NERV_LIMITS__BODIES" in refused.json["detail"]
        assert (await ask(app, "POST", "/v1/echo", {**announced, "content-length": "5"}, b"x" * 5)).status == 200
        slow.cancel()
        await asyncio.wait({slow})
        assert (await ask(app, "POST", "/v1/echo", announced, b"x" * 10)).status == 200


async def never_ending(app: ASGIApp, headers: dict[str, str]) -> None:
    """A request whose body does not come."""

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        pass

    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/echo", "query_string": b"", "headers": named}
    await app(scope, receive, send)


async def test_the_door_comes_before_the_body(tokens: AuthSettings) -> None:
    """Somebody without a token learns nothing of limits."""
    app = app_with(tokens, limits=Limits(body=10))
    assert (await ask(app, "POST", "/v1/echo", {}, b"x" * 11)).status == 401


async def test_errors_are_problem_documents_without_secrets(tokens: AuthSettings) -> None:
    """Our errors keep their status, text and details; a bug is a 500 that says nothing of what happened inside."""
    app = app_with(tokens)
    conflict = await ask(app, "GET", "/v1/fail", bearer("reader-token"), query="how=conflict")
    assert conflict.status == 409
    assert conflict.json["errors"] == [{"version": 2}]
    assert conflict.json["instance"] == "/v1/fail"
    assert (await ask(app, "GET", "/v1/fail", bearer("reader-token"), query="how=unknown")).status == 504
    bug = await ask(app, "GET", "/v1/fail", bearer("reader-token"), query="how=bug")
    assert bug.status == 500
    assert b"hunter2" not in bug.body
    assert (await ask(app, "GET", "/v1/nowhere")).status == 404
    assert (await ask(app, "DELETE", "/v1/echo")).status == 405


async def test_doors_say_what_passed_them(tokens: AuthSettings) -> None:
    """To those who may know: how often each answered, refused, failed; what the service is told to describe comes first."""
    service = Description("Service", "echoing", parts=(Description("Producer", "p"),))
    app = application(ROUTES, None, Authenticator(tokens, insecure=False), Limits(), lambda: service)
    await ask(app, "POST", "/v1/echo", bearer("writer-token"), b"12345")
    await ask(app, "POST", "/v1/echo", bearer("reader-token"), b"12345")
    await ask(app, "GET", "/v1/fail", bearer("reader-token"), query="how=bug")
    refused = await ask(app, "GET", "/.well-known/nerv/components", bearer("reader-token"))
    assert refused.status == 403
    told = (await ask(app, "GET", "/.well-known/nerv/components", bearer("mesh-token"))).json
    assert (told["kind"], told["name"]) == ("Service", "echoing")
    parts = {part["name"]: part for part in told["parts"]}
    assert parts["p"]["kind"] == "Producer"
    assert parts["POST /v1/echo"]["counters"] == {"answered": 1, "refused": 1}
    assert parts["GET /v1/fail"]["counters"] == {"failed": 1}


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[tuple[AuthSettings, RSAPrivateKey]]:
    """A JWKS that a server of ours serves, and its private key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k1", "alg": "RS256", "use": "sig"}

    async def keys(request: web.Request) -> web.Response:
        return web.json_response({"keys": [public]})

    server = web.Application()
    server.router.add_get("/jwks", keys)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield AuthSettings(jwks_url=url, issuer=ISSUER, audience=AUDIENCE), key
    await runner.cleanup()


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims, changed; None leaves one out."""
    now = int(time.time())
    good = {"sub": "ann", "iss": ISSUER, "aud": AUDIENCE, "exp": now + 60, "scope": "things:write", "tenant": "acme"}
    return {name: value for name, value in (good | changes).items() if value is not None}


async def test_a_jwt_passes_only_as_the_issuer_made_it(issuer: tuple[AuthSettings, RSAPrivateKey]) -> None:
    """Signature, algorithm, issuer, audience, expiry and start are all checked; the scope decides what it may do."""
    settings, key = issuer
    app = app_with(settings)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    now = int(time.time())

    def signed(secret: Any = key, algorithm: str = "RS256", **changes: Any) -> str:
        return jwt.encode(claims(**changes), secret, algorithm=algorithm, headers={"kid": "k1"})

    good = await ask(app, "POST", "/v1/echo", bearer(signed()))
    assert (good.status, good.json["subject"], good.json["tenant"]) == (200, "ann", "acme")
    bad = {
        "another key": signed(other),
        "no signature": signed("", "none"),
        "a shared secret": signed("x" * 64, "HS256"),
        "another issuer": signed(iss="https://else.example"),
        "another audience": signed(aud="else"),
        "expired": signed(exp=now - 120),
        "without an end": signed(exp=None),
        "not yet": signed(nbf=now + 120),
        "without a subject": signed(sub=None),
        "nonsense": "a.b.c",
    }
    for what, token in bad.items():
        answer = await ask(app, "POST", "/v1/echo", bearer(token))
        assert answer.status == 401, what
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await ask(app, "POST", "/v1/echo", bearer(signed(scope="things:read")))).status == 403


async def test_while_the_keys_cannot_be_fetched_nobody_is_refused_for_good() -> None:
    """503 with Retry-After, not 401: the token may be good."""
    app = app_with(AuthSettings(jwks_url="http://127.0.0.1:9/jwks", issuer=ISSUER, audience=AUDIENCE))
    token = jwt.encode(claims(), "x" * 64, algorithm="HS256", headers={"kid": "k1"})
    answer = await ask(app, "POST", "/v1/echo", bearer(token))
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_every_error_of_the_tree_has_its_own_status_and_type() -> None:
    """A problem document can be turned back into the error that it came from."""
    from nerv.errors import _tree, from_problem

    for name, kind in _tree(NervError).items():
        error = kind("why", errors=[{"a": 1}])
        again = from_problem(error.problem("/v1/x"), kind.status)
        assert type(again) is kind, name
        assert (again.detail, again.errors) == ("why", [{"a": 1}])


async def test_a_word_that_the_route_does_not_take_is_refused(tokens: AuthSettings) -> None:
    """It would be passed over in silence otherwise; the answer names those that there are."""
    answer = await ask(app_with(tokens), "GET", "/v1/fail", bearer("reader-token"), query="hw=bug")
    assert answer.status == 400
    assert "'hw'" in answer.json["detail"]
    assert "how" in answer.json["detail"]


async def test_the_document_of_the_routes_is_served(tokens: AuthSettings) -> None:
    """To those who may look at the mesh."""
    answer = await ask(app_with(tokens), "GET", "/openapi.json", bearer("mesh-token"))
    assert set(answer.json["paths"]) >= {"/v1/echo", "/v1/fail"}
    assert (await ask(app_with(tokens), "GET", "/openapi.json")).status == 401


@pytest.mark.parametrize(
    ("limits", "headers", "query", "named"),
    [
        (Limits(headers=3), {"a": "1", "b": "2"}, "", "NERV_LIMITS__HEADERS"),
        (Limits(header=50), {"a": "x" * 60}, "", "NERV_LIMITS__HEADER"),
        (Limits(address=20), {}, "how=" + "x" * 20, "NERV_LIMITS__ADDRESS"),
    ],
)
async def test_address_and_headers_are_bounded_before_anything_is_parsed(
    tokens: AuthSettings, limits: Limits, headers: dict[str, str], query: str, named: str
) -> None:
    """The answer names the limit."""
    answer = await ask(
        app_with(tokens, limits=limits), "GET", "/v1/fail", bearer("reader-token") | headers, query=query
    )
    assert answer.status == 413
    assert f"({named})" in answer.json["detail"]


async def test_pages_of_other_origins_may_call_only_where_that_is_set(tokens: AuthSettings) -> None:
    """Without the setting no answer allows an origin; with it the one that is named is allowed, and no other."""
    preflight = {"origin": "https://a.example", "access-control-request-method": "POST"}
    closed = app_with(tokens)
    for method, headers in (("POST", {"origin": "https://a.example"} | bearer("writer-token")), ("OPTIONS", preflight)):
        answer = await ask(closed, method, "/v1/echo", headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
    allowed = application(
        ROUTES, None, Authenticator(tokens, insecure=False), Limits(), cors_origins=["https://a.example"]
    )
    answer = await ask(allowed, "OPTIONS", "/v1/echo", preflight)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://a.example")
    assert "access-control-allow-credentials" not in answer.headers
    other = await ask(allowed, "OPTIONS", "/v1/echo", preflight | {"origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers
    assert (await ask(allowed, "POST", "/v1/echo", {"origin": "https://a.example"})).status == 401


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 4000,
        b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"x" * 4000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000,
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: " + b"x" * 4000,
    ],
    ids=["an address", "a header", "many headers", "a trailer"],
)
async def test_what_never_ends_is_cut_off(head: bytes) -> None:
    """A connection that sends a head or a trailer without end is answered and closed, before more of it is kept."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    limits = Limits(headers=4, header=256, address=256)
    config = uvicorn.Config(app, http=bounded(limits), lifespan="off", log_config=None)
    config.load()
    near, far = socket.socketpair()
    kind, state = bounded(limits), uvicorn.Server(config).server_state
    transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(
        lambda: kind(config, state, {}), near
    )
    for start in range(0, len(head), 500):
        if not transport.is_closing():
            protocol.data_received(head[start : start + 500])
    assert transport.is_closing()
    reader, writer = await asyncio.open_connection(sock=far)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"NERV_LIMITS__HEADERS" in answer
