# SPDX-License-Identifier: Apache-2.0
"""Halls and bays, each with a sync of its own, one under the other: replicas are killed at any write of a run of both, and no
bay is ever written without its hall, nor a hall removed before its bays.
"""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from nerv.dev.mesh import LocalMesh
from tests.faults.sync.bombs import REPLICAS, Killer
from tests.faults.sync.registry import Registry
from tests.faults.verdict import Invariant

HALLS, BAYS = 12, 6  # halls at most, bays of one
EDITS, MEANWHILE = 20, 5  # of a round: before the run, and values only, before its first write
WRITES = 4  # of a run: halls made, bays made, bays removed, halls removed


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
    edits: int = 0
    complaints: list[str] = field(default_factory=list)
    killer: Killer = field(init=False)

    def __post_init__(self) -> None:
        follow, change, apart = [*self.family.right.values()], self._change, self.family.apart
        self.killer = Killer(self.mesh, "halls", follow, WRITES, change, apart, self.console, self.chance)

    async def part(self, times: int) -> Invariant:
        """So many kills, in at most twice as many rounds."""
        self._edit(10 * HALLS)
        await self.killer.order(REPLICAS[0])
        for number in range(2 * times):
            if self.killer.kills == times or self.complaints:
                break
            self._edit(EDITS)
            apart = await self.killer.round(f"halls-{number}")
            self.complaints += [f"round {number}: {key} differs still" for key in apart[:5]]
        self.complaints += [f"{key} was there without its hall" for key in self.family.orphans()]
        await self._seeded()
        kills, flushes = self.killer.kills, self.killer.flushes
        self.console.print(f"two syncs: {self.edits:,} edits, {kills} kills, {flushes} flushes", highlight=False)
        vacuous = self.killer.vacuous(times, 2 * times)
        return Invariant("sync.families", self.edits, kills + flushes, self.complaints, vacuous)

    async def _seeded(self) -> None:
        """Bays are synced without their halls, and one that is new has none: the checker must see it."""
        before = len(self.family.orphans())
        self._put("halls", "new", None)
        self._put("bays", "new.0", "new")
        await self.killer.order(REPLICAS[1], sync="bays")
        if len(self.family.orphans()) == before:
            self.complaints.append("a bay without its hall, and nobody has noticed")

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
