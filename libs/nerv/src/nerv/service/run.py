# SPDX-License-Identifier: Apache-2.0
"""Run a service: start its parts in order, serve, and on SIGTERM go down in the order that loses nothing (rule 16)."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from nerv import types
from nerv.errors import Misconfigured, NervError
from nerv.redis import connect
from nerv.service.alive import Alive
from nerv.service.auth import Authenticator
from nerv.service.describe import About, Replica
from nerv.service.health import Health
from nerv.service.heartbeat import Heartbeat
from nerv.service.http import application
from nerv.service.introspection import introspection
from nerv.service.protocol import bounded
from nerv.service.rights import check_rights
from nerv.service.routes import Route
from nerv.service.settings import ServiceSettings
from nerv.telemetry import Scrape, configure_logs, telemetry
from nerv.telemetry.spans.keeper import keeping, recent_of
from nerv.types import Description

if TYPE_CHECKING:
    from nerv.telemetry.spans.recent import Recent

log = structlog.get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)

# Of the 10 s that a service has to end: requests in flight get these, the parts (drain, commit, leave) the rest.
STOP_SECONDS = 9.5
REQUEST_DRAIN_SECONDS = 3
PROBE_DRAIN_SECONDS = 1
WORSE = (types.Health.OK, types.Health.UNKNOWN, types.Health.DEGRADED, types.Health.DOWN)


@runtime_checkable
class Described(Protocol):
    """What says of itself what it is."""

    def describe(self) -> Description:
        """It, as data."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """What the wiring of a service gives the chassis.

    `about` makes of `deps` what the replica says of itself. `parts` are entered in order before the door opens and left in
    reverse after it has shut; `crashed`, set by a part that cannot go on, brings the service down with an error (its supervisor
    starts it anew).
    """

    name: str
    routes: Sequence[Route]
    deps: Any
    about: Callable[[Any], About]
    health: Health
    parts: Sequence[AbstractAsyncContextManager[Any]] = ()
    crashed: asyncio.Future[None] | None = field(default=None)

    def describe(self) -> Description:
        """The service as data: its health, and those of its parts that describe themselves. It is as well as the worst."""
        told = [part.describe() for part in (self.health, *self.parts) if isinstance(part, Described)]
        health = max((one.health for one in told), key=WORSE.index)
        return Description("Service", self.name, health=health, parts=tuple(told))


def run(name: str, settings_type: type[S], build: Callable[[S], Service]) -> None:
    """The entry point of a service: `python -m nerv_<name>`. Exits 2 when it is not set up right, 1 when it fails."""
    # A batch is tens of thousands of small objects without cycles; with the default (700) a third of the projector's time went
    # into looking for some.
    gc.set_threshold(300_000, 20, 100)
    try:
        settings = settings_type.load()
        assert isinstance(settings, settings_type)  # noqa: S101 - load() is a classmethod; this tells mypy
        configure_logs(name, settings.instance, settings.log_level)
        recent = recent_of(settings.spans)
        with telemetry(name, settings.instance, recent) as scrape:
            uvloop.run(_serve(name, settings, build, scrape, recent))
    except Misconfigured as error:
        sys.stderr.write(f"nerv {name} cannot start: {error}\n")
        sys.exit(2)
    except NervError as error:
        sys.stderr.write(f"nerv {name} failed: {error}\n")
        sys.exit(1)


async def _serve(
    name: str, settings: S, build: Callable[[S], Service], scrape: Scrape | None, recent: "Recent | None"
) -> None:
    authenticator = Authenticator(settings.auth, insecure=settings.insecure_dev)
    if settings.insecure_dev:
        log.warning("insecure", detail="NERV_INSECURE_DEV=1: anyone who reaches this port may do everything")
    await check_rights(name, settings)
    service = build(settings)
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        replica = Replica(name, lambda: service.about(service.deps), service.health)
        redis = connect(settings.redis, f"{name}-{settings.instance}-alive")
        alive = Alive(await stack.enter_async_context(aclosing(redis)), settings.mesh)
        heartbeat = await stack.enter_async_context(Heartbeat(replica, alive, settings.instance))
        http = bounded(settings.limits)
        await stack.enter_async_context(
            _listening(
                service.health.app(scrape), http, settings.health.host, settings.health.port, PROBE_DRAIN_SECONDS
            )
        )
        await stack.enter_async_context(service.health)
        if recent is not None:
            await stack.enter_async_context(keeping(recent, settings.redis, settings.mesh, settings.spans, name))
        for part in service.parts:
            if not await _entered(stack, part, stop):
                return
        routes = (*service.routes, *introspection(replica, alive))
        api = application(
            routes, service.deps, authenticator, settings.limits, service.describe, settings.http.cors_origins
        )
        await stack.enter_async_context(
            _listening(api, http, settings.http.host, settings.http.port, REQUEST_DRAIN_SECONDS)
        )
        service.health.started()
        heartbeat.soon()
        log.info("started", url=settings.http.url, health_port=settings.health.port, mesh=settings.mesh)
        await _until(stop, service.crashed)
        service.health.stopping()
        heartbeat.soon()
        log.info("stopping")
    log.info("stopped", service=name)


async def _entered(stack: AsyncExitStack, part: AbstractAsyncContextManager[Any], stop: asyncio.Event) -> bool:
    """Start a part, however long it takes; False when a signal came first, and the start was given up."""
    entering = asyncio.ensure_future(stack.enter_async_context(part))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({entering, stopping}, return_when="FIRST_COMPLETED")
    finally:
        stopping.cancel()
        if not entering.done():
            entering.cancel()
    if stop.is_set():
        await asyncio.wait({entering})
        return False
    entering.result()
    return True


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin(number: int) -> None:
        if not stop.is_set():
            stop.set()
            loop.call_later(STOP_SECONDS, _give_up, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin, number)
    return stop


def _give_up(number: int) -> None:
    # Dying here is as safe as any kill -9, and whoever sent the signal counts on an end.
    log.error("stop.late", seconds=STOP_SECONDS)
    sys.stderr.flush()
    os._exit(128 + number)


async def _until(stop: asyncio.Event, crashed: asyncio.Future[None] | None) -> None:
    """Until a signal comes; raises what a part crashed with."""
    waiting = asyncio.ensure_future(stop.wait())
    await asyncio.wait({waiting} | ({crashed} if crashed is not None else set()), return_when="FIRST_COMPLETED")
    waiting.cancel()
    if crashed is not None and crashed.done():
        crashed.result()


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the chassis decides when it ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@asynccontextmanager
async def _listening(
    app: ASGIApp, http: type[asyncio.Protocol], host: str, port: int, drain_seconds: int
) -> AsyncIterator[None]:
    try:
        listener = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise Misconfigured(
            f"cannot listen on {host}:{port}: {error.strerror}; free the port or set another"
        ) from error
    server = _Server(
        uvicorn.Config(
            app,
            http=http,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,  # nothing here is decided by where a request says that it comes from
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=drain_seconds,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait({serving})
        listener.close()
