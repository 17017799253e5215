# SPDX-License-Identifier: Apache-2.0
"""Runs of a sync at two replicas, of which one is killed at a write, and finds Redis empty as it dies."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from nerv.redis import RedisSettings, connect
from tests.faults.sync.registry import Registry

REPLICAS = ("sync", "sync-2")
ROUNDS = 2  # runs after the kill, by which all must be equal
ROBBED = 0.2  # share of the kills at which Redis is flushed
RUN_SECONDS = 60.0


@dataclass
class Killer:
    """`writes` is how many batches a run has, as a rule; `meanwhile` edits before the first one; `apart` tells what differs."""

    mesh: LocalMesh
    sync: str
    registries: Sequence[Registry]
    writes: int
    meanwhile: Callable[[], None]
    apart: Callable[[], Awaitable[list[str]]]
    console: Console
    chance: random.Random
    kills: int = 0
    flushes: int = 0

    async def round(self, run: str) -> list[str]:
        """A run that is killed, and at most two more; answers what differs still."""
        victim, other = self.chance.sample(REPLICAS, 2)
        bomb = self._bomb(victim)
        for registry in self.registries:
            registry.hook = bomb
        ordered, went_off = asyncio.create_task(self.order(victim, run)), asyncio.create_task(bomb.went_off.wait())
        await asyncio.wait({ordered, went_off}, return_when=asyncio.FIRST_COMPLETED)
        bomb.armed = False
        went_off.cancel()
        killed = bomb.went_off.is_set()
        self.kills += killed
        # Either the same order at the same replica, once it is back, or another one elsewhere at once.
        again = killed and self.chance.random() < 0.5
        if again:
            await self.mesh.restart(victim)
        elif killed:
            ordered.cancel()
        await asyncio.wait({ordered})
        for _ in range(ROUNDS):
            if not await self.apart():
                break
            await self.order(other)
        if killed and not again:
            await self.mesh.restart(victim)
        return await self.apart()

    async def order(self, replica: str, run: str | None = None, sync: str | None = None) -> None:
        """One run at a replica; what it is refused for, or that it died, is said."""
        async with Client({"sync": self.mesh.url(replica)}) as client:
            try:
                await client.syncs.run(sync or self.sync, run=run, confirm_deletes=True, seconds=RUN_SECONDS)
            except NervError as error:
                self.console.print(f"  {replica}: {error}", highlight=False, markup=False, soft_wrap=True)

    async def rob(self) -> None:
        """Redis loses everything: the digests of all sides, and of what was agreed on."""
        redis = connect(RedisSettings(url=self.mesh.context["redis"]), "faults")
        try:
            await redis.flushall()
        finally:
            await redis.aclose()
        self.flushes += 1

    def vacuous(self, times: int, rounds: int) -> str:
        """That fewer were killed than there had to be."""
        return "" if self.kills == times else f"only {self.kills} of {rounds} runs were killed at a write"

    def _bomb(self, victim: str) -> "Bomb":
        number, moment = self.chance.randrange(1, self.writes + 1), self.chance.choice(("before", "after"))
        robs = self.chance.random() < ROBBED

        async def go_off() -> None:
            if robs:  # what it would still read of its digests is gone
                await self.rob()
            await self.mesh.kill(victim)

        return Bomb(number, moment, go_off, self.meanwhile)


class Bomb:
    """Goes off at the n-th moment of a kind: `before` or `after` a batch is written."""

    def __init__(
        self, number: int, moment: str, go_off: Callable[[], Awaitable[None]], meanwhile: Callable[[], None]
    ) -> None:
        self._left = number
        self._moment = moment
        self._go_off = go_off
        self._meanwhile: Callable[[], None] | None = meanwhile
        self.armed = True
        self.went_off = asyncio.Event()

    async def __call__(self, moment: str) -> None:
        """A batch is about to be written, or was."""
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        if not self.armed or moment != self._moment:
            return
        self._left -= 1
        if self._left == 0:
            self.armed = False
            await self._go_off()
            self.went_off.set()
