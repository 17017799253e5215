# SPDX-License-Identifier: Apache-2.0
"""Replicas killed while they apply: at a write, before or after it is done, with both sides edited before and meanwhile, and
Redis flushed now and then, before the run or as the replica dies.
"""

import random
from dataclasses import dataclass, field

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from tests.faults.sync.bombs import REPLICAS, ROBBED, Killer
from tests.faults.sync.people import People
from tests.faults.sync.registry import Registry, nothing
from tests.faults.verdict import Invariant

WRITES = 6  # of a run: two sides, three generations
EDITS, MEANWHILE = 120, 10  # of a round: before the run, and in it before its first write
AHEAD = 600.0  # seconds by which one clock is wrong


@dataclass
class Killing:
    """One part: rounds of edits, a run that is killed, and at most two more."""

    mesh: LocalMesh
    left: Registry
    right: Registry
    client: Client
    console: Console
    chance: random.Random
    people: People = field(init=False)
    killer: Killer = field(init=False)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.people = People(self.left, self.right, 200, self.chance)
        sides, meanwhile, apart = (self.left, self.right), self._meanwhile, self.people.apart
        self.killer = Killer(self.mesh, "fleet", sides, WRITES, meanwhile, apart, self.console, self.chance)

    async def part(self, name: str, times: int) -> Invariant:
        """So many kills, in at most twice as many rounds, with the clocks apart in every other one."""
        self.people.settle_in()
        await self.killer.order(REPLICAS[0])
        self.complaints += [f"{key} differs from the beginning" for key in (await self.people.apart())[:5]]
        self.people.complaints([])  # from now on both know of all of it
        for number in range(2 * times):
            if self.killer.kills == times or self.complaints:
                break
            self.right.clock.seconds = AHEAD if number % 2 else 0.0
            await self._round(number)
        self.complaints += [f"{key} was written before its parent" for key in {*self.left.orphans, *self.right.orphans}]
        kills, flushes = self.killer.kills, self.killer.flushes
        self.console.print(f"{name}: {self.people.edits:,} edits, {kills} kills, {flushes} flushes", highlight=False)
        vacuous = self.killer.vacuous(times, 2 * times)
        return Invariant(f"sync.{name}", self.people.edits, kills + flushes, self.complaints, vacuous)

    async def seeded(self, times: int) -> Invariant:
        """The registries write whatever the versions are, and people edit between plan and write: the checker must see it."""
        self.left.careless = self.right.careless = True
        self.complaints = []
        for number in range(times):
            self.people.edit(EDITS)
            self.left.hook = self.right.hook = self._careless
            await self.killer.order(REPLICAS[1], f"careless-{number}")
            self.left.hook = self.right.hook = nothing
            await self.killer.order(REPLICAS[1])
            self.complaints += self.people.complaints(await self.client.syncs.losses("fleet"))
        self.left.careless = self.right.careless = False
        missed = [] if self.complaints else ["registries that overwrite unseen, and nobody has noticed"]
        return Invariant("sync.seeded", times * (EDITS + MEANWHILE), times, missed)

    async def _round(self, number: int) -> None:
        self.people.edit(EDITS)
        if self.chance.random() < ROBBED:
            await self.killer.rob()
        apart = await self.killer.round(f"round-{number}")
        self.complaints += [f"round {number}: {key} differs still" for key in apart[:5]]
        self.complaints += self.people.complaints(await self.client.syncs.losses("fleet"))[:5]

    def _meanwhile(self) -> None:
        self.people.edit(MEANWHILE)

    async def _careless(self, moment: str) -> None:
        """People edit before each write."""
        if moment == "before":
            self._meanwhile()
