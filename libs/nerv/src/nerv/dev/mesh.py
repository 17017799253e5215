# SPDX-License-Identifier: Apache-2.0
"""A whole mesh on this machine: Kafka, Redis, topics and the services as processes, as one async context manager."""

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from nerv.dev import folder as folders
from nerv.dev import jars, servers
from nerv.dev.folder import MeshFolder
from nerv.dev.guard import guard, mark
from nerv.dev.kafka import Mode
from nerv.dev.plan import (
    SERVICES,
    CommandOf,
    ServicePlan,
    Wanted,
    mesh_environment,
    plan_services,
    service_command,
)
from nerv.dev.ports import Ports
from nerv.dev.preparing import Preparation
from nerv.dev.processes import describe_exit
from nerv.dev.services import Service, Services
from nerv.dev.starting import report
from nerv.dev.threads import in_thread, threaded
from nerv.errors import Unavailable

log = structlog.get_logger(__name__)

WATCH_SECONDS = 0.1
LOG_BYTES = 64 * 1024 * 1024  # a log that has grown beyond this begins anew


def _say_died(complaint: str) -> None:
    log.error("service died", detail=complaint)


def _say_phase(text: str) -> None:
    log.debug("starting", phase=text)


@dataclass(kw_only=True)
class LocalMesh:
    """`async with LocalMesh(app="flights:app") as mesh:` - inside, every service is ready; afterwards, nothing runs.

    `services` and `replicas` say what runs, `env` is added to the environment of every service. Kafka and Redis are started,
    unless `kafka` and `redis` (or KAFKA_BOOTSTRAP_SERVERS and REDIS_URL) name others. Addresses, logs and data are in
    `folder`; data is removed at the end unless `persist`. One mesh at a time runs in a folder.

    A service that dies is told to `on_died` and kept in `dead`, and the rest goes on: its data and logs can be looked at, and
    `restart` brings it back. Without Kafka or Redis nothing works, so `wait` raises when one of those ends. `on_phase` hears
    what is being done at the start, maybe from another thread.
    Raises Misconfigured, Unavailable or Conflict from its beginning; nothing runs then.
    """

    app: str | None = None
    services: Sequence[str] = SERVICES
    persist: bool = False
    replicas: Mapping[str, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path(".nerv")
    mesh: str = field(default_factory=lambda: os.environ.get("NERV_MESH") or "nerv")
    kafka: str | None = field(default_factory=lambda: servers.given(servers.KAFKA_VARIABLE))
    redis: str | None = field(default_factory=lambda: servers.given(servers.REDIS_VARIABLE))
    mode: Mode = "quick"
    command: CommandOf = service_command
    on_phase: Callable[[str], None] = _say_phase
    on_died: Callable[[str], None] = _say_died
    dead: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._paths = MeshFolder(self.folder.absolute(), uuid.uuid4().hex[:12], self.persist)
        self._base = mark({**os.environ, **self.env}, self._paths.token)
        self._ports = Ports(self._paths.root)
        self._hurry = threading.Event()
        self._cancelled = threading.Event()
        self._stack = AsyncExitStack()
        self._running = Services(())
        self._servers = servers.Servers(self.kafka or "", self.redis or "", ())

    async def __aenter__(self) -> "LocalMesh":
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def context(self) -> dict[str, Any]:
        """What `.nerv/context.json` holds."""
        pids = {"supervisor": os.getpid()}
        pids |= {process.name: process.pid for process in self._servers.processes}
        services = self._running.context()
        return {
            "mesh": self.mesh,
            "app": self.app,
            "kafka": self._servers.kafka,
            "redis": self._servers.redis,
            "services": services,
            "pids": pids | {name: entry["pid"] for name, entry in services.items()},
        }

    @property
    def logs(self) -> Path:
        """The folder with one log a process."""
        return self._paths.logs

    def url(self, name: str) -> str:
        """The base URL of a service (`temporal`) or of one of its replicas (`temporal-2`)."""
        return self._running[name].plan.url

    def pid(self, name: str) -> int | None:
        """The process id of a service or replica."""
        return self._running[name].pid

    async def kill(self, name: str) -> None:
        """SIGKILL to a service or replica and to what it started, as when a machine is lost. It is not counted as dead."""
        await self._running.kill(self._running[name])

    async def restart(self, name: str) -> None:
        """Stop a service or replica if it runs, start it, and wait until it is ready. Raises Unavailable."""
        await self._restart([self._running[name]])

    async def reload(self) -> None:
        """Load the app anew and restart every service. When the app cannot be loaded the old ones go on (Misconfigured)."""
        await self._finish(await Preparation.start(self._shared(())))
        await self._restart(list(self._running))

    async def wait(self) -> None:
        """Wait for ever. Raises Unavailable when Kafka or Redis ends."""
        await asyncio.shield(self._watcher)

    def hurry(self) -> None:
        """Do not wait any longer for those that are being stopped: they are killed."""
        self._hurry.set()

    async def _start(self) -> None:
        wanted = self._wanted()
        plans = plan_services(wanted, self._ports.take)
        lock = await self._stack.enter_async_context(threaded(folders.claim(self._paths.root)))
        held = guard(self._paths.token, remove=self._paths.passing, keep_open=[lock])
        await self._stack.enter_async_context(threaded(held))
        self._paths.clear_logs()
        preparation = await Preparation.start(self._shared(()))
        self._stack.push_async_callback(preparation.cancel)
        await self._start_servers()
        await self._finish(preparation)
        shared = self._shared(plans)
        self._running = Services(Service(plan, self._paths, shared) for plan in plans)
        await self._start_services()

    def _wanted(self) -> Wanted:
        return Wanted(self.mesh, self.app, tuple(self.services), self.replicas, self.command)

    def _shared(self, plans: Sequence[ServicePlan]) -> dict[str, str]:
        return mesh_environment(self._wanted(), plans, self._base, kafka=self._servers.kafka, redis=self._servers.redis)

    async def _start_servers(self) -> None:
        data, logs = self._paths.data, self._paths.logs
        data.mkdir(parents=True, exist_ok=True)
        plan = servers.ServerPlan(data, logs, self._base, self._ports, self.kafka, self.redis, self.persist, self.mode)
        self.on_phase(
            "starting Kafka and Redis" if plan.starts_something else "using the Kafka and Redis that are given"
        )
        self._servers = await in_thread(lambda: servers.start(plan, self._fetched), self._cancelled.set)
        self._stack.push_async_callback(in_thread, lambda: self._servers.stop(self._hurry))

    def _fetched(self, done: int, total: int) -> None:
        if self._cancelled.is_set():
            raise Unavailable("cancelled")
        if jars.milestone(done, total):
            self.on_phase(f"fetching Kafka {jars.VERSION}, this once: {done} of {total} jars")

    async def _finish(self, preparation: Preparation) -> None:
        self.on_phase("loading the app and making topics")
        try:
            await preparation.finish(self._servers.kafka)
        finally:
            await preparation.cancel()

    async def _start_services(self) -> None:
        everyone = list(self._running)
        self._stack.push_async_callback(self._running.stop, everyone, self._hurry)
        self.on_phase(f"starting {', '.join(service.name for service in everyone)}")
        await self._running.start(everyone)
        folders.write_context(self._paths.context, self.context)
        self._watcher = asyncio.create_task(self._watch())
        self._stack.push_async_callback(_cancelled, self._watcher)

    async def _restart(self, services: Sequence[Service]) -> None:
        await self._running.stop(services, self._hurry)
        for service in services:
            self.dead.pop(service.name, None)
        try:
            await self._running.start(services)
        finally:
            folders.write_context(self._paths.context, self.context)

    async def _watch(self) -> None:
        while True:
            for name, complaint in self._running.surprises():
                self.dead[name] = complaint
                self.on_died(complaint)
            for server in self._servers.processes:
                code = server.exit_code()
                if code is not None:
                    cause = f"ended: {describe_exit(code)}"
                    raise Unavailable(report(server.name, cause, server.tail(), server.command.log))
            self._bound_logs()
            await asyncio.sleep(WATCH_SECONDS)

    def _bound_logs(self) -> None:
        for path in self._paths.logs.glob("*.log"):
            if path.stat().st_size > LOG_BYTES:
                os.truncate(path, 0)  # its writer appends, and so goes on at the new end


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
