# SPDX-License-Identifier: Apache-2.0
"""Halls and bays, each with a sync of its own, one under the other: replicas are killed at any write of a run of both, and no
bay is ever written without its hall, nor a hall removed before its bays.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from tests.faults.sync.bombs import Bomb, rob
from tests.faults.sync.registry import Registry
from tests.faults.verdict import Invariant

REPLICAS = ("sync", "sync-2")
HALLS, BAYS = 12, 6  # halls at most, bays of one
EDITS, MEANWHILE = 20, 5  # of a round: before the run, and values only, before its first write
ROBBED = 0.2  # share of the kills at which Redis is flushed
WRITES = 4  # of a run: halls made, bays made, bays removed, halls removed
ROUNDS = 2  # runs after the kill, by which all must be equal
RUN_SECONDS = 60.0


class Family:
    """Two registries that lead, and two that follow."""

    def __init__(self) -> None:
        self.left, self.right = (
            {kind: Registry(f"{kind}.{side}") for kind in ("halls", "bays")} for side in ("left", "right")
        )
        for side in (self.left, self.right):
            side["bays"].above, side["halls"].below = side["halls"], side["bays"]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Family"]:
        """Open the doors."""
        async with AsyncExitStack() as stack:
            for registry in (*self.left.values(), *self.right.values()):
                await stack.enter_async_context(registry.serving())
            yield self

    def urls(self) -> dict[str, str]:
        """The doors, as the app looks for them."""
        sides: Mapping[str, Mapping[str, Registry]] = {"LEFT": self.left, "RIGHT": self.right}
        return {f"{k.upper()}_{side}_URL": one.url for side, found in sides.items() for k, one in found.items()}

    async def apart(self) -> list[str]:
        """The keys whose rows differ between what leads and what follows."""
        found: list[str] = []
        for kind, leader in self.left.items():
            left, right = await leader.rows(), await self.right[kind].rows()
            found += sorted(key for key in {*left, *right} if left.get(key) != right.get(key))
        return found

    def orphans(self) -> set[str]:
        """What was written, or left, without what it hangs under."""
        return {key for registry in self.right.values() for key in registry.orphans}


@dataclass
class Families:
    """The part: rounds of edits, a run that is killed, and at most two more."""

    mesh: LocalMesh
    family: Family
    console: Console
    chance: random.Random
    kills: int = 0
    flushes: int = 0
    edits: int = 0
    complaints: list[str] = field(default_factory=list)

    async def part(self, times: int) -> Invariant:
        """So many kills, in at most twice as many rounds."""
        self._edit(10 * HALLS)
        await self._order(REPLICAS[0], "first")
        for number in range(2 * times):
            if self.kills == times or self.complaints:
                break
            await self._round(number)
        self.complaints += [f"{key} was there without its hall" for key in self.family.orphans()]
        await self._seeded()
        vacuous = "" if self.kills == times else f"only {self.kills} of {2 * times} runs were killed at a write"
        self.console.print(
            f"two syncs: {self.edits:,} edits, {self.kills} kills, {self.flushes} flushes", highlight=False
        )
        return Invariant("sync.families", self.edits, self.kills + self.flushes, self.complaints, vacuous)

    async def _seeded(self) -> None:
        """Bays are synced without their halls, and one that is new has none: the checker must see it."""
        before = len(self.family.orphans())
        self._put("halls", "new", None)
        self._put("bays", "new.0", "new")
        await self._order(REPLICAS[1], "bays-alone", "bays")
        if len(self.family.orphans()) == before:
            self.complaints.append("a bay without its hall, and nobody has noticed")

    async def _round(self, number: int) -> None:
        self._edit(EDITS)
        victim, other = self.chance.sample(REPLICAS, 2)
        bomb = Bomb(
            self.mesh,
            victim,
            self.chance.randrange(1, WRITES + 1),
            self.chance.choice(("before", "after")),
            meanwhile=self._change,
            rob=self._rob if self.chance.random() < ROBBED else None,
        )
        for registry in self.family.right.values():
            registry.hook = bomb
        ordered = asyncio.create_task(self._order(victim, f"halls-{number}"))
        went_off = asyncio.create_task(bomb.went_off.wait())
        await asyncio.wait({ordered, went_off}, return_when=asyncio.FIRST_COMPLETED)
        bomb.armed = False
        went_off.cancel()
        killed = bomb.went_off.is_set()
        self.kills += killed
        again = killed and self.chance.random() < 0.5  # the same order at the same replica, or another one elsewhere
        if again:
            await self.mesh.restart(victim)
        elif killed:
            ordered.cancel()
        await asyncio.wait({ordered})
        for run in range(ROUNDS):
            if not await self.family.apart():
                break
            await self._order(other, f"halls-{number}-{run}")
        if killed and not again:
            await self.mesh.restart(victim)
        self.complaints += [f"round {number}: {key} differs still" for key in (await self.family.apart())[:5]]

    def _edit(self, count: int) -> None:
        """Halls come with their bays, and go with them; bays come and go; values change."""
        for _ in range(count):
            hall = f"hall{self.chance.randrange(HALLS)}"
            bay = f"{hall}.{self.chance.randrange(BAYS)}"
            if hall not in self.family.left["halls"].side:
                self._put("halls", hall, None)
                for n in range(BAYS // 2):
                    self._put("bays", f"{hall}.{n}", hall)
            elif self.chance.random() < 0.15:
                for n in range(BAYS):
                    self.family.left["bays"].side.remove(f"{hall}.{n}")
                self.family.left["halls"].side.remove(hall)
                self.edits += 1
            elif self.chance.random() < 0.3:
                self.family.left["bays"].side.remove(bay)
                self.edits += 1
            else:
                self._put("bays", bay, hall)

    def _change(self) -> None:
        """Values alone: a run that has seen which halls there are cannot know of new ones."""
        for _ in range(MEANWHILE):
            hall = f"hall{self.chance.randrange(HALLS)}"
            if hall in self.family.left["halls"].side:
                self._put("halls", hall, None)

    def _put(self, kind: str, key: str, above: str | None) -> None:
        self.edits += 1
        row: dict[str, Any] = {"key": key, "above": above, "a": self.edits, "b": 0}
        self.family.left[kind].side.put(key, row)

    async def _rob(self) -> None:
        await rob(self.mesh)
        self.flushes += 1

    async def _order(self, replica: str, run: str, sync: str = "halls") -> None:
        async with Client({"sync": self.mesh.url(replica)}) as client:
            try:
                await client.syncs.run(sync, run=run, confirm_deletes=True, seconds=RUN_SECONDS)
            except NervError as error:
                self.console.print(f"  {replica}: {error}", highlight=False, markup=False, soft_wrap=True)
