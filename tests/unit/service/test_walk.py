# SPDX-License-Identifier: Apache-2.0
"""Every route of all five services, walked with every kind of token that must not pass."""

import importlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from nerv.limits import Limits
from nerv.service import Authenticator, Request, Route
from nerv.service.http import COMPONENTS, OPENAPI, application
from nerv.service.introspection import MESH, TOPOLOGY, WELL_KNOWN, introspection
from tests.unit.service.asking import ask, bearer
from tests.unit.service.issuing import forged_with_the_public_key, key, settings, token

SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")
NAME = "mine"
NOBODY: Any = (None, None)  # of whom nothing is told, for nobody passes

# What is sent, by the scope of the route; None sends no token at all.
REFUSED: dict[str, tuple[int, Callable[[str], str | None]]] = {
    "no token": (401, lambda scope: None),
    "nonsense": (401, lambda scope: "a.b.c"),
    "expired": (401, lambda scope: token(scope, exp=int(time.time()) - 120)),
    "not yet": (401, lambda scope: token(scope, nbf=int(time.time()) + 120)),
    "wrong audience": (401, lambda scope: token(scope, aud="else")),
    "wrong issuer": (401, lambda scope: token(scope, iss="https://else.example")),
    "wrong key": (401, lambda scope: token(scope, secret=key("another"))),
    "wrong algorithm": (401, lambda scope: token(scope, secret="x" * 64, algorithm="HS256")),
    "public key as a secret": (401, forged_with_the_public_key),
    "no signature": (401, lambda scope: token(scope, secret="", algorithm="none")),
    "missing scope": (403, lambda scope: token("")),
    "another verb": (403, lambda scope: token(f"{scope.partition(':')[0]}:nothing")),
    "another name": (403, lambda scope: token(f"{scope}:yours {scope}:mine-too {scope}:our*")),
}


def routes(service: str) -> list[Route]:
    """The whole table of a service, with what the chassis adds."""
    own: tuple[Route, ...] = importlib.import_module(f"nerv_{service}.handlers").ROUTES
    return [
        *own,
        *(Route("GET", path, _passed, "mesh:read") for path in (COMPONENTS, OPENAPI, WELL_KNOWN, MESH, TOPOLOGY)),
    ]


async def _passed(request: Request[None]) -> Response:
    return Response(status_code=204)


def address(route: Route) -> str:
    """The path with a name for each word."""
    return re.sub(r"\{\w+(?::\w+)?\}", NAME, route.path)


ALL = [(service, route) for service in SERVICES for route in routes(service)]
NAMES = [f"{service} {route.method} {route.path}" for service, route in ALL]


@pytest.mark.parametrize(("service", "route"), ALL, ids=NAMES)
async def test_whoever_must_not_is_refused(service: str, route: Route, tmp_path: Path) -> None:
    """Each with its status, before the handler: there is nothing here that one could work with."""
    own = importlib.import_module(f"nerv_{service}.handlers").ROUTES
    app = application(
        (*own, *introspection(*NOBODY)), None, Authenticator(settings(tmp_path), insecure=False), Limits()
    )
    for what, (status, make) in REFUSED.items():
        if what == "another name" and route.each:
            continue  # its handler asks for each thing; the tests of that handler show it
        made = make(route.scope)
        answer = await ask(app, route.method, address(route), {} if made is None else bearer(made), b"{}")
        assert answer.status == status, what
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("service", "route"), ALL, ids=NAMES)
async def test_whoever_may_passes(service: str, route: Route, tmp_path: Path) -> None:
    """With the scope for all things of the kind, for every verb, or for the one that is named. So what is refused above is not
    refused for another reason.
    """
    open_door = replace(
        route, handler=_passed, path=route.path.replace("/.well-known", "/known").replace(OPENAPI, "/o")
    )
    app = application((open_door,), None, Authenticator(settings(tmp_path), insecure=False), Limits())
    scopes = [route.scope, f"{route.scope.partition(':')[0]}:*", "*"]
    if route.of is not None or route.each:
        scopes += [f"{route.scope}:{NAME}", f"{route.scope}:mi*", f"{route.scope.partition(':')[0]}:*:{NAME}"]
    for scope in scopes:
        answer = await ask(app, route.method, address(open_door), bearer(token(scope)), b"{}")
        assert answer.status == 204, scope


@pytest.mark.parametrize(("service", "route"), ALL, ids=NAMES)
def test_what_a_path_names_can_be_permitted_by_name(service: str, route: Route) -> None:
    """The first word of a path is the thing that is asked about; `of` says so, and a scope is a thing and a verb."""
    assert re.fullmatch(r"[a-z]+:[a-z]+", route.scope)
    words = re.findall(r"\{(\w+)(?::\w+)?\}", route.path)
    if route.path.startswith("/v1/runs"):
        assert route.of is None  # a run's id does not say whose it is: this needs the scope for all
    else:
        assert route.of == (words[0] if words else None)
