# SPDX-License-Identifier: Apache-2.0
"""Every route of all five services, walked with every kind of token that must not pass."""

import ast
import importlib
import pkgutil
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.routing import Router
from starlette.types import ASGIApp

from nerv.limits import Limits
from nerv.service import Authenticator, Health, Request, Route
from nerv.service.http import OPENAPI, application
from nerv.service.introspection import introspection
from nerv.telemetry.scraping import Scrape
from tests.unit.service.asking import ask, bearer
from tests.unit.service.issuing import forged_with_the_public_key, key, settings, token

SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")
NAME = "mine"
NOBODY: Any = (None, None)  # of whom nothing is told, for nobody passes

# What is sent, by the scope of the route; None sends no token at all. The set of keys has k1 for ES256 and r1 for RS256.
Make = Callable[[str], str | None]
REFUSED: dict[str, tuple[int, Make]] = {
    "no token": (401, lambda scope: None),
    "nonsense": (401, lambda scope: "a.b.c"),
    "expired": (401, lambda scope: token(scope, "r1", exp=int(time.time()) - 120)),
    "not yet": (401, lambda scope: token(scope, "r1", nbf=int(time.time()) + 120)),
    "without an end": (401, lambda scope: token(scope, "r1", exp=None)),
    "wrong audience": (401, lambda scope: token(scope, "r1", aud="else")),
    "no audience": (401, lambda scope: token(scope, "r1", aud=None)),
    "wrong issuer": (401, lambda scope: token(scope, "r1", iss="https://else.example")),
    "wrong key": (401, lambda scope: token(scope, "r1", secret=key("r2"))),
    "wrong key of the other kind": (401, lambda scope: token(scope, "k1", secret=key("another"))),
    "wrong algorithm": (401, lambda scope: token(scope, "r1", secret="x" * 64, algorithm="HS256")),
    "algorithm that is not set": (401, lambda scope: token(scope, "r1", secret=key("r1"), algorithm="PS256")),
    "public key as a secret": (401, lambda scope: forged_with_the_public_key(scope, "r1")),
    "public key of the other kind as a secret": (401, lambda scope: forged_with_the_public_key(scope, "k1")),
    "no signature": (401, lambda scope: token(scope, "r1", secret="", algorithm="none")),
    "missing scope": (403, lambda scope: token("", "r1")),
    "another verb": (403, lambda scope: token(f"{scope.partition(':')[0]}:nothing", "r1")),
    "another name": (403, lambda scope: token(f"{scope}:yours {scope}:mine-too {scope}:our*", "r1")),
}


async def _passed(request: Request[None]) -> Response:
    return Response(status_code=204)


def door(service: str, folder: Path) -> ASGIApp:
    """The application of a service as it runs, without anything behind its handlers."""
    own: tuple[Route, ...] = importlib.import_module(f"nerv_{service}.handlers").ROUTES
    authenticator = Authenticator(settings(folder, "k1", "r1"), insecure=False)
    return application((*own, *introspection(*NOBODY)), None, authenticator, Limits())


def routes(service: str) -> list[Route]:
    """The whole table of a service, with what the chassis adds: taken from the application, so that none is forgotten."""
    with tempfile.TemporaryDirectory() as folder:
        app = door(service, Path(folder))
    assert isinstance(app, Router)
    return [way.app._route for way in app.routes]  # type: ignore[attr-defined]  # each is a way to a door


def address(route: Route) -> str:
    """The path with a name for each word."""
    return re.sub(r"\{\w+(?::\w+)?\}", NAME, route.path)


ALL = [(service, route) for service in SERVICES for route in routes(service)]
NAMES = [f"{service} {route.method} {route.path}" for service, route in ALL]


@pytest.mark.parametrize("service", SERVICES)
def test_every_table_of_routes_is_walked(service: str) -> None:
    """Each room's table is in that of the handlers, and a service is built with that table alone."""
    package = importlib.import_module(f"nerv_{service}")
    names = [info.name for info in pkgutil.walk_packages(package.__path__, f"nerv_{service}.")]
    rooms = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    walked = [route for of, route in ALL if of == service]
    assert [one for room in rooms for one in getattr(room, "ROUTES", ()) if one not in walked] == []
    built = ast.parse(Path(f"{package.__path__[0]}/app.py").read_text(encoding="utf-8"))
    given = [
        ast.unparse(node.value) for node in ast.walk(built) if isinstance(node, ast.keyword) and node.arg == "routes"
    ]
    assert given == ["ROUTES"]


@pytest.mark.parametrize(("service", "route"), ALL, ids=NAMES)
async def test_whoever_must_not_is_refused(service: str, route: Route, tmp_path: Path) -> None:
    """Each with its status, before the handler: there is nothing here that one could work with."""
    app = door(service, tmp_path)
    for what, (status, make) in REFUSED.items():
        if what == "another name" and route.each:
            continue  # its handler asks for each thing; the tests of that handler show it
        made = make(route.scope)
        answer = await ask(app, route.method, address(route), {} if made is None else bearer(made), b"{}")
        assert answer.status == status, what
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("service", SERVICES)
async def test_there_is_no_other_way_in(service: str, tmp_path: Path) -> None:
    """Pages that other frameworks open by themselves, other methods, and paths written otherwise: all are refused, and is
    sent elsewhere by the Host header."""
    app = door(service, tmp_path)
    walked = [address(route) for of, route in ALL if of == service]
    paths = ["/", "/docs", "/redoc", "/metrics", "/livez", "/readyz", "/openapi.yaml", "/.well-known/nerv/", "/v1"]
    paths += [f"{path}/" for path in walked] + [f"/{path}" for path in walked] + [path.upper() for path in walked]
    for path in paths:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"):
            assert (await ask(app, method, path, body=b"{}")).status in (401, 404, 405), (method, path)


async def test_the_health_port_tells_nothing_but_health_and_metrics() -> None:
    """It needs no token, for probes have none: /livez, /readyz and /metrics, read only; docs/security.md says so."""
    app = Health().app(Scrape())
    assert isinstance(app, Starlette)
    ways = {route.path: route.methods for route in app.routes if isinstance(route, StarletteRoute)}
    assert ways == {path: {"GET", "HEAD"} for path in ("/livez", "/readyz", "/metrics")}
    assert len(ways) == len(app.routes)
    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    assert [path for path in ways if f"`{path}`" not in page] == []


@pytest.mark.parametrize(("service", "route"), ALL, ids=NAMES)
async def test_whoever_may_passes(service: str, route: Route, tmp_path: Path) -> None:
    """With the scope for all things of the kind, for every verb, or for the one that is named. So what is refused above is not
    refused for another reason.
    """
    open_door = replace(
        route, handler=_passed, path=route.path.replace("/.well-known", "/known").replace(OPENAPI, "/o")
    )
    app = application((open_door,), None, Authenticator(settings(tmp_path, "k1", "r1"), insecure=False), Limits())
    scopes = [route.scope, f"{route.scope.partition(':')[0]}:*", "*"]
    if route.of is not None or route.each:
        scopes += [f"{route.scope}:{NAME}", f"{route.scope}:mi*", f"{route.scope.partition(':')[0]}:*:{NAME}"]
    for scope in scopes:
        for kid in ("k1", "r1"):
            answer = await ask(app, route.method, address(open_door), bearer(token(scope, kid)), b"{}")
            assert answer.status == 204, (scope, kid)


@pytest.mark.parametrize(("service", "route"), ALL, ids=NAMES)
def test_what_a_path_names_can_be_permitted_by_name(service: str, route: Route) -> None:
    """The first word of a path is the thing that is asked about; `of` says so, and a scope is a thing and a verb."""
    assert re.fullmatch(r"[a-z]+:[a-z]+", route.scope)
    words = re.findall(r"\{(\w+)(?::\w+)?\}", route.path)
    if route.path.startswith(("/v1/runs", "/v1/traces")):
        assert route.of is None  # the id of a run or a trace does not say whose it is: this needs the scope for all
    else:
        assert route.of == (words[0] if words else None)
