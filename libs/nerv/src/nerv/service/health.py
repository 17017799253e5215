# SPDX-License-Identifier: Apache-2.0
"""Health on its own port: `/livez` without dependencies, `/readyz` by the parts' own checks, both with `?verbose`."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from nerv import types
from nerv.service.routes import respond
from nerv.types import Description

Check = Callable[[], str | None]
"""None when ready; else one line that says why not."""


class Health:
    """Who is ready. Parts register a check; a service that is going down is not ready, whatever they say."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._phase = "starting"
        self._closing = asyncio.Event()

    def closing(self) -> asyncio.Event:
        """Set when the service begins to stop: answers without an end then end."""
        return self._closing

    def register(self, name: str, check: Check) -> None:
        """Have `check` asked at every `/readyz`. It must answer at once."""
        self._checks[name] = check

    def started(self) -> None:
        """Every part has started; from here on the checks decide."""
        self._phase = "running"

    def stopping(self) -> None:
        """No new work from now on."""
        self._phase = "stopping"
        self._closing.set()

    def report(self) -> dict[str, str]:
        """The faults by name; empty when ready."""
        if self._phase != "running":
            return {"service": self._phase}
        return {name: fault for name, check in self._checks.items() if (fault := check()) is not None}

    def told(self) -> dict[str, Any]:
        """The same for a document: whether it is ready, what it is doing, and each fault by name."""
        faults = self.report()
        return {"status": "not ready" if faults else "ok", "phase": self._phase, "faults": faults}

    def describe(self) -> Description:
        """The service's health as data; a part is each check."""
        parts = tuple(Description("Check", name, health=_state(check())) for name, check in self._checks.items())
        ready = types.Health.OK if not self.report() else types.Health.DOWN
        return Description("Health", self._phase, health=ready, parts=parts)

    def app(self) -> Starlette:
        """The ASGI app of the health port."""

        async def livez(request: Request) -> Response:
            return respond({"status": "ok", "phase": self._phase}) if "verbose" in request.query_params else _OK

        async def readyz(request: Request) -> Response:
            faults = self.report()
            status = 503 if faults else 200
            if "verbose" in request.query_params:
                checks = {name: faults.get(name, "ok") for name in self._checks} | faults
                return respond({"status": "not ready" if faults else "ok", "checks": checks}, status)
            return PlainTextResponse("not ready" if faults else "ok", status)

        return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])


def _state(fault: str | None) -> types.Health:
    return types.Health.OK if fault is None else types.Health.DOWN


_OK = PlainTextResponse("ok")
