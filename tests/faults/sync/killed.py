# SPDX-License-Identifier: Apache-2.0
"""Replicas killed while they apply: at a write, before or after it is done, with both sides edited before and meanwhile, and
Redis flushed now and then, before the run or as the replica dies.
"""

import asyncio
import random
from dataclasses import dataclass, field

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from tests.faults.sync.bombs import Bomb, rob
from tests.faults.sync.people import People
from tests.faults.sync.registry import Registry
from tests.faults.verdict import Invariant

REPLICAS = ("sync", "sync-2")
ROUNDS = 2  # runs after the kill, by which both sides must be equal
WRITES = 6  # of a run: two sides, three generations
EDITS, MEANWHILE = 120, 10  # of a round: before the run, and in it before its first write
ROBBED = 0.2  # share of the rounds before which Redis is flushed; and of the kills, at which it is
AHEAD = 600.0  # seconds by which one clock is wrong
RUN_SECONDS = 60.0


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
    kills: int = 0
    flushes: int = 0
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.people = People(self.left, self.right, 200, self.chance)

    async def part(self, name: str, times: int) -> Invariant:
        """So many kills, in at most twice as many rounds, with the clocks apart in every other one."""
        self.people.settle_in()
        await self._order(REPLICAS[0])
        self.complaints += [f"{key} differs from the beginning" for key in (await self.people.apart())[:5]]
        self.people.complaints([])  # from now on both know of all of it
        for number in range(2 * times):
            if self.kills == times or self.complaints:
                break
            self.right.clock.seconds = AHEAD if number % 2 else 0.0
            await self._round(number)
        self.complaints += [f"{key} was written before its parent" for key in {*self.left.orphans, *self.right.orphans}]
        vacuous = "" if self.kills == times else f"only {self.kills} of {2 * times} runs were killed at a write"
        self.console.print(
            f"{name}: {self.people.edits:,} edits, {self.kills} kills, {self.flushes} flushes", highlight=False
        )
        return Invariant(f"sync.{name}", self.people.edits, self.kills + self.flushes, self.complaints, vacuous)

    async def seeded(self, times: int) -> Invariant:
        """The registries write whatever the versions are, and people edit between plan and write: the checker must see it."""
        self.left.careless = self.right.careless = True
        self.complaints = []
        for number in range(times):
            self.people.edit(EDITS)
            self.left.hook = self.right.hook = Bomb(self.mesh, "", 0, "", meanwhile=self._meanwhile)
            await self._order(REPLICAS[1], f"careless-{number}")
            await self._order(REPLICAS[1])
            self.complaints += self.people.complaints(await self.client.syncs.losses("fleet"))
        self.left.careless = self.right.careless = False
        missed = [] if self.complaints else ["registries that overwrite unseen, and nobody has noticed"]
        return Invariant("sync.seeded", times * (EDITS + MEANWHILE), times, missed)

    async def _round(self, number: int) -> None:
        self.people.edit(EDITS)
        if self.chance.random() < ROBBED:
            await self._rob()
        victim, other = self.chance.sample(REPLICAS, 2)
        bomb = Bomb(
            self.mesh,
            victim,
            self.chance.randrange(1, WRITES + 1),
            self.chance.choice(("before", "after")),
            meanwhile=self._meanwhile,
            rob=self._rob if self.chance.random() < ROBBED else None,
        )
        self.left.hook = self.right.hook = bomb
        ordered = asyncio.create_task(self._order(victim, f"round-{number}"))
        await asyncio.wait({ordered, asyncio.create_task(bomb.went_off.wait())}, return_when=asyncio.FIRST_COMPLETED)
        bomb.armed = False
        killed = bomb.went_off.is_set()
        self.kills += killed
        # Either the same order at the same replica, once it is back, or another one elsewhere at once.
        again = killed and self.chance.random() < 0.5
        if again:
            await self.mesh.restart(victim)
        elif killed:
            ordered.cancel()
        await asyncio.wait({ordered})
        runs = 0
        while (apart := await self.people.apart()) and runs < ROUNDS:
            await self._order(other)
            runs += 1
        if killed and not again:
            await self.mesh.restart(victim)
        self.complaints += [f"round {number}: {key} differs still" for key in apart[:5]]
        self.complaints += self.people.complaints(await self.client.syncs.losses("fleet"))[:5]

    def _meanwhile(self) -> None:
        self.people.edit(MEANWHILE)

    async def _rob(self) -> None:
        await rob(self.mesh)
        self.flushes += 1

    async def _order(self, replica: str, run: str | None = None) -> None:
        async with Client({"sync": self.mesh.url(replica)}) as client:
            try:
                await client.syncs.run("fleet", run=run, confirm_deletes=True, seconds=RUN_SECONDS)
            except NervError as error:
                self.console.print(f"  {replica}: {error}", highlight=False, markup=False, soft_wrap=True)
