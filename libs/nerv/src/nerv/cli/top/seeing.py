# SPDX-License-Identifier: Apache-2.0
"""What a frame shows, asked of the mesh by three requests side by side."""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from nerv.cli.listing import Row, replicas_of
from nerv.client import Client
from nerv.errors import Misconfigured, NervError
from nerv.types import format_instant, utc_now

RUNS = 20
SECONDS = 4.0  # for a part of the picture; what does not answer in time is left out


@dataclass(frozen=True, slots=True)
class Sight:
    """The mesh at one moment. `faults` say what could not be seen, and why."""

    at: datetime
    replicas: list[Row]
    projections: list[Row]
    runs: list[Row]
    faults: tuple[str, ...] = ()

    @property
    def meshes(self) -> list[tuple[str, str]]:
        """Mesh and app; several where replicas run different apps."""
        return sorted({(row["mesh"], row["app"]) for row in self.replicas if "mesh" in row})

    @property
    def groups(self) -> list[Row]:
        """The lag of each group that is no part of a projection, over all replicas."""
        found: dict[tuple[str, str], int] = {}
        for replica in self.replicas:
            for one in replica.get("lags", ()):
                if ".projector." not in one["group"]:
                    place = one["group"], one["topic"]
                    found[place] = found.get(place, 0) + one["lag"]
        return [{"group": group, "topic": topic, "lag": lag} for (group, topic), lag in sorted(found.items())]

    @property
    def queues(self) -> list[Row]:
        """What waits for workers: every scheduler tells the same, and the last one counts."""
        told = [row["figures"]["queues"] for row in self.replicas if "queues" in row.get("figures", {})]
        return list(told[-1]) if told else []

    @property
    def pools(self) -> dict[str, tuple[int, int]]:
        """Places that are taken, and places, of the workers of all replicas by pool."""
        found: dict[str, tuple[int, int]] = {}
        for row in self.replicas:
            for name, pool in row.get("figures", {}).get("pools", {}).items():
                busy, size = found.get(name, (0, 0))
                found[name] = busy + pool["busy"], size + pool["size"]
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        more = {"groups": self.groups, "queues": self.queues, "pools": self.pools}
        return asdict(self) | {"at": format_instant(self.at), "faults": list(self.faults)} | more


async def look(client: Client, before: Sight | None = None) -> Sight:
    """The mesh now. What does not answer is a fault of the sight, and shown as it was before."""
    faults: list[str] = []

    async def part(name: str, asked: Awaitable[Any], otherwise: Any) -> Any:
        try:
            async with asyncio.timeout(SECONDS):
                return await asked
        except Misconfigured:
            return otherwise  # this mesh runs without it
        except NervError as error:
            faults.append(f"{name}: {error.detail}")
        except TimeoutError:
            faults.append(f"{name}: no answer in {SECONDS:g} s")
        return otherwise

    (replicas, fault), projections, runs = await asyncio.gather(
        part("replicas", replicas_of(client), ([] if before is None else before.replicas, None)),
        part("projections", client.views.projections(), [] if before is None else before.projections),
        part("runs", client.workflows.latest(RUNS), [] if before is None else before.runs),
    )
    told = () if fault is None else (f"replicas: {fault}",)
    return Sight(utc_now(), replicas, list(projections), runs, (*told, *faults))
