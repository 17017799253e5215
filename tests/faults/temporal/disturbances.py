# SPDX-License-Identifier: Apache-2.0
"""What is done to a mesh while it is under load. Each waits until the mesh has recovered, so that the next one hits it whole."""

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import redis.asyncio

from tests.faults.rig import Mesh, Replica, Rig
from tests.faults.temporal.load import Load

UNDISTURBED = (0.2, 1.0)  # s of work before each fault
LEAST_IN_FLIGHT = 2
PROGRESS = 30  # appends that must be acknowledged between two faults
FROZEN = (5.0, 30.0)
CUT_SECONDS = 12.0  # longer than the group's patience: the partitions have moved when the way is free again
LOST_SECONDS, LOST_EVERY = 0.3, 2.0


@dataclass(slots=True)
class Told:
    """What a run tells of its faults."""

    counts: dict[str, int] = field(default_factory=dict)
    in_flight: list[int] = field(default_factory=list)
    after_kill: list[float] = field(default_factory=list)
    after_term: list[float] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def note(self, what: str, load: Load) -> None:
        """A fault that comes now."""
        self.counts[what] = self.counts.get(what, 0) + 1
        self.in_flight.append(load.in_flight)


class Disturber:
    """Makes the faults of one mesh, one at a time."""

    def __init__(self, rig: Rig, mesh: Mesh, load: Load, told: Told, seed: int) -> None:
        self._rig, self._mesh, self._load, self._told = rig, mesh, load, told
        self._random = random.Random(seed)  # noqa: S311 - when a fault comes must not be regular

    async def repeat(self, what: str, times: int, advance: Callable[[], None]) -> None:
        """One kind of fault so many times; `what` names a method."""
        fault: Callable[[], Awaitable[None]] = getattr(self, what)
        for _ in range(times):
            await self._load.progressed(PROGRESS)
            await asyncio.sleep(self._random.uniform(*UNDISTURBED))
            await self._load.busy(LEAST_IN_FLIGHT)
            await fault()
            advance()

    def _pair(self) -> tuple[Replica, Replica]:
        """A replica that suffers, and the other one."""
        first, second = self._mesh.replicas
        return (first, second) if self._random.random() < 0.5 else (second, first)

    async def kill(self) -> None:
        """SIGKILL; another process on the same index is started at once."""
        victim, other = self._pair()
        self._told.note("kill", self._load)
        start = time.monotonic()
        await victim.kill()
        again = asyncio.create_task(victim.start())
        self._told.after_kill.append(await self._load.writable(other.client) - start)
        await again

    async def terminate(self) -> None:
        """SIGTERM, as in a rolling restart."""
        victim, other = self._pair()
        self._told.note("sigterm", self._load)
        start = time.monotonic()
        ending = asyncio.create_task(victim.terminate())
        self._told.after_term.append(await self._load.writable(other.client) - start)
        await ending
        await victim.start()

    async def freeze(self) -> None:
        """SIGSTOP of an owner with requests in flight; when it goes on it takes itself for the owner."""
        victim, _ = self._pair()
        self._told.note("sigstop", self._load)
        await victim.freeze(self._random.uniform(*FROZEN))
        await self._mesh.ready()

    async def cut(self) -> None:
        """No way to Kafka for one replica, until the other has everything."""
        victim, _ = self._pair()
        self._told.note("cut", self._load)
        await victim.proxy.cut(CUT_SECONDS)
        await self._mesh.ready()

    async def lose_replies(self) -> None:
        """For 300 ms what Kafka answers is lost: commits are done, and nobody says so."""
        victim, _ = self._pair()
        self._told.note("lost replies", self._load)
        await victim.proxy.lose_replies(LOST_SECONDS)
        await asyncio.sleep(LOST_EVERY - LOST_SECONDS)

    async def lose_index(self) -> None:
        """The index of a replica is deleted while it is down."""
        victim, _ = self._pair()
        self._told.note("lost index", self._load)
        await victim.kill()
        await asyncio.to_thread(shutil.rmtree, victim.data / "index")
        await victim.start()

    async def flush_redis(self) -> None:
        """Everything in Redis is gone."""
        self._told.note("flushed Redis", self._load)
        async with redis.asyncio.from_url(self._rig.redis_url) as client:
            await client.flushall()
