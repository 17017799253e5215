# SPDX-License-Identifier: Apache-2.0
"""Health on its own port: `/livez` without dependencies, `/readyz` by the parts' own checks, both with `?verbose`; and
`/metrics`, as Prometheus reads them.

What every replica leans on, another service or Redis, is away for all of them at once. Were all of them unready then, a load
balancer would refuse every request, also those that need nothing of it, and nobody would be told why. So such a fault keeps a
replica that starts from being ready, and later is only told.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from nerv import types
from nerv.cancelling import end
from nerv.service.routes import respond
from nerv.telemetry import Scrape, observe
from nerv.telemetry import names as n
from nerv.types import Description

Check = Callable[[], str | None]
"""None when ready; else one line that says why not."""

WATCH_SECONDS = (
    1.0  # how often the checks are asked for those who look at metrics: those are collected on another thread
)


class Health:
    """Who is ready. Parts register a check; a service that is going down is not ready, whatever they say.

    From entering to leaving it tells OpenTelemetry, too.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._shared: set[str] = set()
        self._well: set[str] = set()  # those of the shared ones that have held once
        self._phase = "starting"
        self._closing = asyncio.Event()
        self._faults: dict[str, str] = {"service": self._phase}
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        observe(n.SERVICE_READY, lambda: [(int(not self._unready(self._faults)), {})])
        observe(n.CHECK_FAILED, self._failed)
        self._watching = asyncio.create_task(self._watch(), name="health")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            await end(self._watching)

    async def _watch(self) -> None:
        while True:
            self._faults = self.faults()
            await asyncio.sleep(WATCH_SECONDS)

    def _failed(self) -> list[tuple[int, dict[str, str]]]:
        faults = self._faults
        return [(int(name in faults), {n.CHECK: name}) for name in ("service", *self._checks)]

    def closing(self) -> asyncio.Event:
        """Set when the service begins to stop: answers without an end then end."""
        return self._closing

    def register(self, name: str, check: Check, *, shared: bool = False) -> None:
        """Have `check` asked at every `/readyz`. It must answer at once.

        A `shared` one is of something that all replicas lean on: once it has held, its fault makes nobody unready.
        """
        self._checks[name] = check
        if shared:
            self._shared.add(name)

    def started(self) -> None:
        """Every part has started; from here on the checks decide."""
        self._phase = "running"

    def stopping(self) -> None:
        """No new work from now on."""
        self._phase = "stopping"
        self._closing.set()

    def report(self) -> dict[str, str]:
        """The faults that make it unready, by name; empty when ready."""
        return self._unready(self.faults())

    def faults(self) -> dict[str, str]:
        """All faults by name."""
        if self._phase != "running":
            return {"service": self._phase}
        found = {name: fault for name, check in self._checks.items() if (fault := check()) is not None}
        self._well |= self._shared - found.keys()
        return found

    def _unready(self, faults: dict[str, str]) -> dict[str, str]:
        return {name: fault for name, fault in faults.items() if name not in self._well}

    def _status(self, faults: dict[str, str]) -> str:
        return "not ready" if self._unready(faults) else "degraded" if faults else "ok"

    def told(self) -> dict[str, Any]:
        """For a document: `ok`, `degraded` (ready, though something is away) or `not ready`, the phase, each fault by name."""
        faults = self.faults()
        return {"status": self._status(faults), "phase": self._phase, "faults": faults}

    def describe(self) -> Description:
        """The service's health as data; a part is each check."""
        parts = tuple(Description("Check", name, health=_state(check())) for name, check in self._checks.items())
        return Description("Health", self._phase, health=_STATES[self._status(self.faults())], parts=parts)

    def app(self, scrape: Scrape | None = None) -> Starlette:
        """The ASGI app of the health port; without `scrape` there are no metrics."""
        collecting = asyncio.Lock()  # whoever asks more often than can be answered waits

        async def livez(request: Request) -> Response:
            return respond({"status": "ok", "phase": self._phase}) if "verbose" in request.query_params else _OK

        async def readyz(request: Request) -> Response:
            faults = self.faults()
            status = 503 if self._unready(faults) else 200
            if "verbose" in request.query_params:
                checks = {name: faults.get(name, "ok") for name in self._checks} | faults
                return respond({"status": self._status(faults), "checks": checks}, status)
            return PlainTextResponse(self._status(faults), status)

        async def metrics(request: Request) -> Response:
            if scrape is None:
                return PlainTextResponse("metrics are off: OTEL_METRICS_EXPORTER=none or OTEL_SDK_DISABLED=true", 404)
            async with collecting:
                text = await asyncio.to_thread(scrape)
            return Response(text, media_type=scrape.content_type)

        return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


def _state(fault: str | None) -> types.Health:
    return types.Health.OK if fault is None else types.Health.DOWN


_OK = PlainTextResponse("ok")
_STATES = {"ok": types.Health.OK, "degraded": types.Health.DEGRADED, "not ready": types.Health.DOWN}
