# SPDX-License-Identifier: Apache-2.0
"""What a run is made of: one Kafka behind proxies, one Redis, meshes of two replicas of a service, each with its own proxy."""

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nerv.client import Client
from nerv.dev import kafka as kafka_server
from nerv.dev import redis as redis_server
from nerv.dev.folder import MeshFolder
from nerv.dev.guard import guard, mark
from nerv.dev.plan import ServicePlan, Wanted, mesh_environment
from nerv.dev.ports import Ports
from nerv.dev.processes import Process, stop_together
from nerv.dev.services import Service, wait_ready
from nerv.dev.starting import Server
from nerv.dev.threads import threaded
from nerv.errors import Unavailable
from nerv.kafka.admin import Admin
from nerv.kafka.settings import KafkaSettings
from nerv.topics import Topic, of_mesh
from tests.faults.rig.proxy import Proxy, toxiproxy

ROOT = Path(__file__).parent.parent.parent.parent
APPS = ROOT / "tests" / "apps"
PARTITIONS = 4
STOP_SECONDS = 10.0
KAFKA_STARTS = 3  # tries, each of a minute: all replicas ask for it at once, on a machine that may have other work
WATCH_SECONDS = 0.2
READY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class MeshSpec:
    """A mesh to start: two replicas of `service`, run by `command` (of Python), with these topics beside the mesh's own.

    `environments` are those of the first and the second replica.
    """

    name: str
    service: str
    command: Sequence[str]
    app: str
    topics: Sequence[Topic] = ()
    environments: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {})


class Replica:
    """One process of the service, its way to Kafka, and the folder of its data."""

    def __init__(self, service: Service, proxy: Proxy, data: Path) -> None:
        self.service, self.proxy, self.data = service, proxy, data
        self.client = Client({service.plan.service: service.plan.url})

    @property
    def name(self) -> str:
        """`temporal-2`."""
        return self.service.name

    def died(self) -> str | None:
        """What is to be said when the process has ended though nobody asked it to; told once."""
        complaint = self.service.has_died() if self.service.watched else None
        self.service.watched = self.service.watched and complaint is None
        return complaint

    async def start(self) -> None:
        """Start the process and wait until it is ready, however long it takes to build its index anew."""
        self.service.start()
        self.service.watched = True
        await wait_ready([self.service], READY_SECONDS)

    async def kill(self) -> None:
        """SIGKILL."""
        self.service.watched = False
        if self.service.process is not None:
            await asyncio.to_thread(self.service.process.kill)

    async def terminate(self) -> None:
        """SIGTERM; answers when it has ended."""
        self.service.watched = False
        if self.service.process is not None:
            await asyncio.to_thread(stop_together, [self.service.process], STOP_SECONDS)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        process = self.service.process
        if process is None:
            return
        process.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.send(signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class Mesh:
    """Two replicas that share their topics and a group."""

    spec: MeshSpec
    name: str
    replicas: tuple[Replica, Replica]
    kafka: KafkaSettings

    async def ready(self) -> None:
        """Wait until both replicas are ready."""
        await wait_ready([replica.service for replica in self.replicas], READY_SECONDS)


@dataclass
class Rig:
    """The servers of a run; `start` makes meshes on them."""

    folder: Path
    meshes: list[Mesh] = field(default_factory=list)
    deaths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._paths = MeshFolder(self.folder.absolute(), uuid.uuid4().hex[:12], persist=False)
        self._environment = mark({**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{APPS}"}, self._paths.token)
        self._ports = Ports(self.folder)
        self._listeners: dict[int, Proxy] = {}
        self._stack = AsyncExitStack()

    @property
    def redis_url(self) -> str:
        """The address of Redis."""
        return self._redis.address

    async def start(self, specs: Sequence[MeshSpec]) -> None:
        """Start everything; nothing runs after an error."""
        self._paths.clear_logs()
        await self._stack.enter_async_context(threaded(guard(self._paths.token, remove=self._paths.passing)))
        log = self._paths.logs / "toxiproxy.log"
        self._toxiproxy = await self._stack.enter_async_context(toxiproxy(self._environment, log, self._ports.take()))
        ways = [f"{spec.name}-{number}" for spec in specs for number in (1, 2)]
        proxies = {way: await self._way(way) for way in ("clients", *ways)}
        self._kafka = await self._start_kafka()
        self._stack.push_async_callback(self._stop_kafka)
        self._redis = await asyncio.to_thread(self._start_redis)
        self._stack.callback(lambda: stop_together(self._processes(self._redis), STOP_SECONDS))
        self._clients = KafkaSettings(bootstrap_servers=proxies["clients"].address)
        for spec in specs:
            self.meshes.append(await self._start_mesh(spec, [proxies[f"{spec.name}-{n}"] for n in (1, 2)]))
        watching = asyncio.create_task(self._watch())
        self._stack.callback(watching.cancel)

    async def close(self) -> None:
        """End everything."""
        for mesh in self.meshes:
            await asyncio.gather(*(replica.kill() for replica in mesh.replicas))
        await self._stack.aclose()

    async def _watch(self) -> None:
        """A process that ends by itself is noted, and started again as any supervisor would."""
        while True:
            for replica in (replica for mesh in self.meshes for replica in mesh.replicas):
                if (complaint := replica.died()) is not None:
                    self.deaths.append(complaint)
                    replica.service.start()
                    replica.service.watched = True
            await asyncio.sleep(WATCH_SECONDS)

    async def kill_kafka(self, away: float = 0.0) -> None:
        """SIGKILL to Kafka, and a new one on the same data, `away` seconds later."""
        for process in self._processes(self._kafka):
            await asyncio.to_thread(process.kill)
        await asyncio.sleep(away)
        for left in reversed(range(KAFKA_STARTS)):
            try:
                self._kafka = await self._start_kafka()
            except Unavailable:
                if not left:
                    raise
            else:
                return

    async def _way(self, name: str) -> Proxy:
        own, listen = self._ports.take(), self._ports.take()
        self._listeners[own] = proxy = await self._toxiproxy.add(name, listen, own)
        return proxy

    async def _start_kafka(self) -> Server:
        proxies = {own: proxy.listen for own, proxy in self._listeners.items()}
        return await asyncio.to_thread(
            lambda: kafka_server.start(
                self._paths.data / "kafka",
                self._environment,
                log=self._paths.logs / "kafka.log",
                ports=self._ports,
                proxies=proxies,
            )
        )

    async def _stop_kafka(self) -> None:
        await asyncio.to_thread(stop_together, self._processes(self._kafka), STOP_SECONDS)

    def _start_redis(self) -> Server:
        log = self._paths.logs / "redis.log"
        return redis_server.start(self._paths.data / "redis", self._environment, log=log, ports=self._ports)

    @staticmethod
    def _processes(server: Server) -> list[Process]:
        return [server.process] if server.process is not None else []

    async def _start_mesh(self, spec: MeshSpec, ways: Sequence[Proxy]) -> Mesh:
        name = f"f{spec.name}{uuid.uuid4().hex[:6]}"
        admin = Admin(self._clients, "faults")
        await asyncio.to_thread(admin.create, [*of_mesh(name, partitions=PARTITIONS), *spec.topics])
        replicas = [self._replica(spec, name, number, way) for number, way in enumerate(ways, start=1)]
        for replica in replicas:
            await self._stack.enter_async_context(replica.client)
        await asyncio.gather(*(replica.start() for replica in replicas))
        return Mesh(spec, name, (replicas[0], replicas[1]), self._clients)

    def _replica(self, spec: MeshSpec, mesh: str, number: int, way: Proxy) -> Replica:
        command = (sys.executable, *spec.command)
        plan = ServicePlan(f"{spec.name}-{number}", spec.service, command, self._ports.take(), self._ports.take())
        shared = mesh_environment(
            Wanted(mesh, spec.app),
            [],
            {**self._environment, **spec.environments[number - 1]},
            kafka=way.address,
            redis=self.redis_url,
        )
        return Replica(Service(plan, self._paths, shared), way, self._paths.data / plan.name)


@asynccontextmanager
async def rig(folder: Path, specs: Sequence[MeshSpec]) -> AsyncIterator[Rig]:
    """Everything that a run needs, running."""
    made = Rig(folder)
    try:
        await made.start(specs)
        yield made
    finally:
        await made.close()
