# SPDX-License-Identifier: Apache-2.0
"""Suite *sync*: replicas killed while they apply one sync or two, both sides edited meanwhile, clocks apart, sources that
misbehave.

The outside systems live in this process, so that they outlive every replica and see each write. The checker of lost updates is
shown registries that have a bug, and must find it.
"""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from tests.faults.sync import cycles, loads
from tests.faults.sync.bombs import REPLICAS
from tests.faults.sync.families import Families, Family
from tests.faults.sync.killed import Killing
from tests.faults.sync.loads import Collection
from tests.faults.sync.registry import Registry
from tests.faults.verdict import Invariant

ROOT = Path(__file__).parents[3]
FOLDER = Path(".nerv") / "faults"
KILLS, KILLS_OF_TWO = 100, 30  # of one sync, and of two of which one is under the other
LOADS = 36
CYCLES = 10
SEEDED = 6  # rounds in which the checker has to find a bug


@dataclass(frozen=True, slots=True)
class Stage:
    """What the parts share."""

    mesh: LocalMesh
    left: Registry
    right: Registry
    family: Family
    collection: Collection
    client: Client


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """The whole suite; `scale` shrinks the number of kills and loads."""

    def times(full: int) -> int:
        return max(4, round(full * scale))

    chance = random.Random(1)  # noqa: S311 - no secret
    async with staged("sync") as stage:
        killing = Killing(stage.mesh, stage.left, stage.right, stage.client, console, chance)
        return [
            await killing.part("killed", times(KILLS)),
            await Families(stage.mesh, stage.family, console, chance).part(times(KILLS_OF_TWO)),
            await cycles.part(stage.left, stage.right, stage.client, times(CYCLES)),
            await loads.part(stage.mesh, stage.collection, stage.client, console, times(LOADS), chance),
            await killing.seeded(SEEDED),
        ]


@asynccontextmanager
async def staged(name: str) -> AsyncIterator[Stage]:
    """A mesh with its own Kafka and Redis, registries and a collection."""
    async with (
        Registry("hangar").serving() as left,
        Registry("office").serving() as right,
        Family().serving() as family,
        Collection().serving() as collection,
    ):
        mesh = LocalMesh(
            app="tests.faults.sync.fleet:app",
            services=["temporal", "sync"],
            replicas={"sync": len(REPLICAS)},
            folder=FOLDER / name,
            mesh=name,
            kafka=None,
            redis=None,
            env={
                "PYTHONPATH": str(ROOT),
                "HANGAR_URL": left.url,
                "OFFICE_URL": right.url,
                "RACKS_URL": collection.url,
                **family.urls(),
                "NERV_SYNC__SILENCE_SECONDS": "2",
                "NERV_SYNC__HEARTBEAT_SECONDS": "0.5",
            },
        )
        async with mesh, Client({"sync": mesh.url(REPLICAS[1]), "temporal": mesh.url("temporal")}) as client:
            yield Stage(mesh, left, right, family, collection, client)
