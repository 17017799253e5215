# SPDX-License-Identifier: Apache-2.0
"""Members of a group that live for three seconds, fail now and then, and write down what they have handled."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from nerv.client import Client
from nerv.client.subscriptions import Delivered, Verdict
from nerv.errors import NervError
from tests.faults.broker.groups.checker import Handled

LIFE = (2.0, 4.0)  # s
BATCH = 50
FAIL = 0.1  # of all handlings
FAST, SLOW = 0.001, 0.1  # s that an event takes; a slow member works at 1 % of the others' speed
SLOW_ONES = 0.125  # of the members


@dataclass(slots=True)
class Tally:
    """What all members did."""

    handled: list[Handled] = field(default_factory=list)
    failed: int = 0
    joined: int = 0
    gone: int = 0  # in the middle of a batch
    lost: int = 0  # verdicts that came too late
    unreached: int = 0  # requests that met no broker, or an error
    fails: float = FAIL


class Members:
    """So many members at any time; who goes is followed by a new one. Use as `async with`."""

    def __init__(self, clients: Sequence[Client], group: str, count: int, tally: Tally) -> None:
        self._clients, self._group, self._count, self.tally = clients, group, count, tally
        self._random = random.Random(7)  # noqa: S311 - the same course each time, as far as clocks allow
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Members":
        self._tasks = [asyncio.create_task(self._lives(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _lives(self, number: int) -> None:
        """One after another in the same place, each under its own name."""
        while True:
            self.tally.joined += 1
            life = _Life(self, f"m{number}-{self.tally.joined}", slow=self._random.random() < SLOW_ONES)
            with suppress(TimeoutError):
                await asyncio.wait_for(life.run(), self._random.uniform(*LIFE))
            self.tally.gone += life.busy

    async def fetch(self, name: str) -> Sequence[Delivered]:
        """Of any broker."""
        try:
            return await self._client().subscriptions.fetch(self._group, name, BATCH, wait=1.0)
        except NervError:
            return await self._unreached()

    async def _unreached(self) -> Sequence[Delivered]:
        self.tally.unreached += 1
        await asyncio.sleep(0.2)
        return []

    async def answer(self, verdicts: Sequence[Verdict]) -> None:
        """By any broker; what is not heard is not repeated: then the leases end."""
        try:
            self.tally.lost += len(await self._client().subscriptions.conclude(self._group, verdicts))
        except NervError:
            self.tally.unreached += 1

    def _client(self) -> Client:
        return self._random.choice(self._clients)

    def fails(self) -> bool:
        """Whether a handler fails this time."""
        failing = self._random.random() < self.tally.fails
        self.tally.failed += failing
        return failing


class _Life:
    """One member, from its first request until it is gone without a word."""

    def __init__(self, members: Members, name: str, *, slow: bool) -> None:
        self._members, self._name, self._slow = members, name, slow
        self.busy = False

    async def run(self) -> None:
        """For ever; its end comes from outside."""
        while True:
            self.busy = False
            found = await self._members.fetch(self._name)
            self.busy = bool(found)
            await self._members.answer([await self._handle(one) for one in found] or [])

    async def _handle(self, one: Delivered) -> Verdict:
        began = time.monotonic()
        await asyncio.sleep(SLOW if self._slow else FAST)
        if self._members.fails():
            return Verdict(one.token, "retry", 0.0, "one in ten")
        self._members.tally.handled.append(Handled((one.partition, one.offset), began, time.monotonic()))
        return Verdict(one.token)
