# SPDX-License-Identifier: Apache-2.0
"""What the parts of the suite share: a mesh of three projectors, events that come all the while, and what must come of them."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from tests.faults.verdict import Invariant
from tests.integration.projector.feeding import Expected, Feed, make_trips
from tests.integration.projector.watching import PROJECTIONS, check_all, rows, settled

APP = Path(__file__).parents[2] / "integration" / "projector"
FOLDER = Path(".nerv") / "faults"
REPLICAS = ("projector", "projector-2", "projector-3")
DELTAS_A_TRIP = 4  # a plane, two airports, a carrier
CHUNK = 500  # trips in one go: between two of them a fault may come
DONE_SECONDS = 60.0  # after the last fault
BATCH = 500  # small, so that there is a middle to be killed in


@dataclass
class Stage:
    """The mesh and its feed; `in_flight` counts the faults that came while something was to be folded."""

    mesh: LocalMesh
    feed: Feed
    client: Client
    console: Console
    chance: random.Random
    expected: Expected = field(default_factory=Expected)
    flown: int = 0
    faults: int = 0
    in_flight: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # for who flies: the part, and each of its faults

    async def fly(self, count: int) -> None:
        """Append trips, and count them."""
        for at in range(0, count, CHUNK):
            async with self.turn:
                trips = make_trips(min(CHUNK, count - at), planes=500, first=self.flown)
                await self.feed.trips(trips)
                self.expected.count(trips)
                self.flown += len(trips)

    async def fault(self, make: Callable[[], Awaitable[None]]) -> None:
        """Make a fault while trips are in flight, or note that none was: the fold may be done with those of the part."""
        self.faults += 1
        await self.fly(CHUNK)
        try:
            self.in_flight += any(row["lag"] != 0 for row in (await rows(self.client)).values())
        except NervError:
            self.in_flight += 1  # the one that is asked has not come back yet
        await make()

    async def part(self, name: str, trips: int, disturb: Callable[[], Awaitable[None]]) -> Invariant:
        """Events come while `disturb` does its work; then every key must equal the fold of the log, soon."""
        faults, in_flight, flown = self.faults, self.in_flight, self.flown
        self.console.print(f"{name}: {trips:,} trips", highlight=False)
        flying = asyncio.create_task(self.fly(trips))
        await disturb()
        await flying
        began = time.monotonic()
        complaints = await self._complaints()
        seconds = time.monotonic() - began
        if seconds > DONE_SECONDS:
            complaints.append(f"it took {seconds:.0f} s after the last fault; the limit is {DONE_SECONDS:.0f}")
        made, met = self.faults - faults, self.in_flight - in_flight
        vacuous = "" if met * 2 >= made else f"only {met} of {made} faults met work in flight"
        self.console.print(f"{name}: {made} faults, {met} in flight, done after {seconds:.1f} s", highlight=False)
        return Invariant(f"projector.{name}", (self.flown - flown) * DELTAS_A_TRIP, made, complaints, vacuous)

    async def _complaints(self) -> list[str]:
        try:
            await settled(self.client, PROJECTIONS)
            await check_all(self.client, self.expected)
        except AssertionError as error:
            return [str(error)[:500]]
        return []


@asynccontextmanager
async def staged(console: Console, name: str, seed: int) -> AsyncIterator[Stage]:
    """A mesh with its own Kafka and Redis."""
    mesh = LocalMesh(
        app="trips:app",
        services=["projector"],
        replicas={"projector": len(REPLICAS)},
        folder=FOLDER / name,
        mesh=name,
        kafka=None,
        redis=None,
        env={"PYTHONPATH": str(APP), "NERV_PROJECTOR__BATCH": str(BATCH)},
    )
    async with mesh:
        kafka = mesh.context["kafka"]
        async with Feed(kafka, name) as feed, Client({"projector": mesh.url("projector")}) as client:
            yield Stage(mesh, feed, client, console, random.Random(seed))  # noqa: S311 - no secret
