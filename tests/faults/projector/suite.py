# SPDX-License-Identifier: Apache-2.0
"""Suite *projector*: killed, robbed of its views, joined and left, fed poison, and killed while it switches versions.

A projector keeps nothing on a disk of its own; that its folder is deleted with every kill shows it.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence

from rich.console import Console

from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from tests.faults.projector.mending import mended
from tests.faults.projector.poison import poisoned
from tests.faults.projector.seeded import show
from tests.faults.projector.stage import REPLICAS, Stage, staged
from tests.faults.projector.switching import switched
from tests.faults.verdict import Invariant

TRIPS = 75_000  # of each part: 300,000 deltas
KILLS = 20
FLUSHES = 5
JOINS = 20
JOIN_SECONDS = 3.0
SWITCHES = 20
MENDED = 20
REST = (0.2, 1.5)  # s between two faults
POISONED = 20_000


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """The whole suite; `scale` shrinks the number of events and faults."""
    async with staged(console, "faults", seed=1) as stage:
        return [await part() for part in parts(stage, scale).values()]


def parts(stage: Stage, scale: float) -> Mapping[str, Callable[[], Awaitable[Invariant]]]:
    """What is done to one mesh, in this order: history grows, and what folds all of it again comes while it is short."""
    trips = max(4000, round(TRIPS * scale))

    def times(full: int) -> int:
        return max(2, round(full * scale))

    def disturbed(name: str, disturb: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[Invariant]]:
        return lambda: stage.part(name, trips, disturb)

    return {
        "switch_killed": lambda: switched(stage, times(SWITCHES)),
        "redis_flushed": disturbed("redis_flushed", flushes(stage, times(FLUSHES))),
        "killed": disturbed("killed", kills(stage, times(KILLS), with_folder=False)),
        "killed_without_folder": disturbed("killed_without_folder", kills(stage, times(KILLS), with_folder=True)),
        "joined_and_left": disturbed("joined_and_left", joins(stage, times(JOINS))),
        "mended": lambda: mended(stage, times(MENDED)),
        "poison": lambda: poisoned(stage, max(1000, round(POISONED * scale))),
        "seeded_bugs": lambda: show(stage.mesh.context["redis"]),
    }


def kills(stage: Stage, times: int, *, with_folder: bool) -> Callable[[], Awaitable[None]]:
    """Any replica is killed, and comes back; with its folder deleted in between."""

    async def disturb() -> None:
        for _ in range(times):
            await asyncio.sleep(stage.chance.uniform(*REST))
            replica = stage.chance.choice(REPLICAS)
            await stage.fault(lambda replica=replica: stage.mesh.kill(replica))  # type: ignore[misc]
            if with_folder:
                for found in stage.mesh.folder.glob(f"data/*{replica}*"):
                    shutil.rmtree(found, ignore_errors=True)
            await stage.mesh.restart(replica)

    return disturb


def flushes(stage: Stage, times: int) -> Callable[[], Awaitable[None]]:
    """Redis loses everything."""

    async def disturb() -> None:
        redis = connect(RedisSettings(url=stage.mesh.context["redis"]), "faults")
        try:
            for _ in range(times):
                await asyncio.sleep(stage.chance.uniform(*REST))
                await stage.fault(lambda: _flush(redis))
        finally:
            await redis.aclose()

    return disturb


async def _flush(redis: Redis) -> None:
    await redis.flushall()


def joins(stage: Stage, times: int) -> Callable[[], Awaitable[None]]:
    """A member leaves and joins every few seconds, as it should."""

    async def disturb() -> None:
        for number in range(times):
            await asyncio.sleep(JOIN_SECONDS / 2)
            replica = REPLICAS[1 + number % 2]
            await stage.fault(lambda replica=replica: stage.mesh.restart(replica))  # type: ignore[misc]

    return disturb
