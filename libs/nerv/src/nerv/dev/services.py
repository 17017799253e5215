# SPDX-License-Identifier: Apache-2.0
"""Service processes: start them, know when they are ready, notice when one ends that should not."""

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import aiohttp

from nerv.dev.folder import MeshFolder
from nerv.dev.plan import ServicePlan, service_environment
from nerv.dev.processes import Command, Process, describe_exit, stop_together
from nerv.dev.starting import listens, report
from nerv.dev.threads import in_thread
from nerv.errors import NotFound, Unavailable

READY_SECONDS = 90.0  # it takes 2-4 s; five of them on a busy machine of two cores need more
STOP_SECONDS = 10.0  # rule 16: a service drains, commits and leaves its groups in this time
POLL_SECONDS = 0.1
ANSWER_SECONDS = 2.0


class Service:
    """One process of a service over its restarts. While it is `watched`, its end is a surprise."""

    def __init__(self, plan: ServicePlan, folder: MeshFolder, shared: Mapping[str, str]) -> None:
        environment = service_environment(plan, shared, folder.data)
        self.plan = plan
        self.watched = False
        self.process: Process | None = None
        self._command = Command(plan.name, plan.command, folder.logs / f"{plan.name}.log", environment)

    @property
    def name(self) -> str:
        """`temporal`, `temporal-2`."""
        return self.plan.name

    @property
    def pid(self) -> int | None:
        """The id of the running process, or of the last one; None before the first."""
        return None if self.process is None else self.process.pid

    def start(self) -> None:
        """Start it (again), not watched yet. Raises Misconfigured when the program does not exist."""
        self.process = Process(self._command)

    def has_died(self) -> str | None:
        """The complaint when it was started and runs no more."""
        code = None if self.process is None else self.process.exit_code()
        return None if code is None else self.complaint(f"died: {describe_exit(code)}")

    def complaint(self, cause: str) -> str:
        """What people are told: its name, the cause, its last lines."""
        lines = [] if self.process is None else self.process.tail()
        return report(self.name, cause, lines, self._command.log)


class Services:
    """All service processes of a mesh, by name."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._all = {service.name: service for service in services}

    def __iter__(self) -> Iterator[Service]:
        return iter(self._all.values())

    def __getitem__(self, name: str) -> Service:
        found = self._all.get(name)
        if found is None:
            raise NotFound(f"no {name} runs here; there are {', '.join(self._all)}")
        return found

    def context(self) -> dict[str, dict[str, Any]]:
        """Where each can be reached."""
        return {s.name: {"url": s.plan.url, "health": s.plan.health, "pid": s.pid} for s in self}

    async def start(self, services: Sequence[Service]) -> None:
        """Start these and wait until all are ready. Raises Unavailable with the last lines of the first that fails."""
        for service in services:
            service.start()
        try:
            await wait_ready(services)
        finally:
            for service in services:
                service.watched = service.has_died() is None

    async def stop(self, services: Sequence[Service], hurry: threading.Event) -> None:
        """SIGTERM to these together, ten seconds (or until `hurry`), SIGKILL."""
        for service in services:
            service.watched = False
        processes = [service.process for service in services if service.process is not None]
        await in_thread(lambda: stop_together(processes, STOP_SECONDS, hurry))

    async def kill(self, service: Service) -> None:
        """SIGKILL, on purpose."""
        service.watched = False
        if service.process is not None:
            await in_thread(service.process.kill)

    def surprises(self) -> Iterator[tuple[str, str]]:
        """Name and complaint of each that has died since the last call, though nobody asked it to."""
        for service in self:
            complaint = service.has_died() if service.watched else None
            if complaint is not None:
                service.watched = False
                yield service.name, complaint


async def wait_ready(services: Sequence[Service], seconds: float = READY_SECONDS) -> None:
    """Wait until every process itself answers `/readyz` with 200. Raises Unavailable with the reason of the first that fails."""
    deadline = time.monotonic() + seconds
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        waiting = [asyncio.create_task(_wait_ready(service, session, deadline)) for service in services]
        try:
            await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def _wait_ready(service: Service, session: aiohttp.ClientSession, deadline: float) -> None:
    while (fault := await _not_ready(service.plan, session) or _not_ours(service)) is not None:
        death = service.has_died()
        if death is not None:
            raise Unavailable(death)
        if time.monotonic() > deadline:
            raise Unavailable(service.complaint(f"is not ready in time: {fault}"))
        await asyncio.sleep(POLL_SECONDS)


def _not_ours(service: Service) -> str | None:
    """None when it is the service itself that has answered, and not somebody who was quicker at its port."""
    port = service.plan.health_port
    ours = service.pid is not None and listens(service.pid, port)
    return None if ours else f"another process has its port {port}; start it again"


async def _not_ready(plan: ServicePlan, session: aiohttp.ClientSession) -> str | None:
    """None when it is ready, else what it says."""
    try:
        async with session.get(f"{plan.health}/readyz?verbose") as answer:
            return None if answer.status == 200 else f"HTTP {answer.status} {(await answer.text())[:1000]}"
    except (aiohttp.ClientError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
