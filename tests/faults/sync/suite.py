# SPDX-License-Identifier: Apache-2.0
"""Suite *sync*: replicas killed while they apply, both sides edited meanwhile, clocks apart, sources that misbehave.

The outside systems live in this process, so that they outlive every replica and see each write. Each checker is shown a
registry that has a bug, and must find it.
"""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from tests.faults.sync.killed import REPLICAS, Killing
from tests.faults.sync.registry import Registry
from tests.faults.verdict import Invariant

ROOT = Path(__file__).parents[3]
FOLDER = Path(".nerv") / "faults"
KILLS = 100


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """The whole suite; `scale` shrinks the number of kills and loads."""

    def times(full: int) -> int:
        return max(4, round(full * scale))

    found: list[Invariant] = []
    async with staged(console, "sync", seed=1) as stage:
        found.append(await stage.part("killed", times(KILLS)))
    return found


@asynccontextmanager
async def staged(console: Console, name: str, seed: int) -> AsyncIterator[Killing]:
    """A mesh with its own Kafka and Redis, and two registries."""
    async with Registry("hangar").serving() as left, Registry("office").serving() as right:
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
                "NERV_SYNC__SILENCE_SECONDS": "2",
                "NERV_SYNC__HEARTBEAT_SECONDS": "0.5",
            },
        )
        async with mesh, Client({"sync": mesh.url(REPLICAS[1]), "temporal": mesh.url("temporal")}) as client:
            yield Killing(mesh, left, right, client, console, random.Random(seed))  # noqa: S311 - no secret
