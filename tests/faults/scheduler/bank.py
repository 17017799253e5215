# SPDX-License-Identifier: Apache-2.0
"""The bank at work: runs that move money all the while, and its books when everything is at rest."""

import asyncio
import os
import random
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from tests.faults.rig.standing import Standing, standing
from tests.faults.scheduler.checker import Booking, Books, Transfer, check
from tests.faults.verdict import Invariant

APPS = Path(__file__).parent.parent.parent / "apps"
FOLDER = Path(".nerv") / "faults"
REPLICAS = ("scheduler", "scheduler-2", "scheduler-3")
LEASE_SECONDS = 1.0
ACCOUNTS = 20
TRANSFERS = 4  # of a run
TASK_SECONDS = 0.05
IN_FLIGHT = 12  # runs that go on at once
BREATH = 3
PAUSE_SECONDS = 0.2  # before a request that failed is repeated
REST_SECONDS = 180.0  # within which every run that was acknowledged must have ended, after the last fault
STALE = b"completion.stale"


@dataclass
class Bank:
    """The mesh, what was asked of it and how many faults met runs in flight."""

    mesh: LocalMesh
    kafka: Standing
    redis: Standing
    clients: Sequence[Client]
    console: Console
    chance: random.Random
    wanted: dict[str, list[Transfer]] = field(default_factory=dict)
    open: int = 0
    faults: int = 0
    in_flight: int = 0
    ended: int = 0
    late: list[str] = field(default_factory=list)

    async def part(self, name: str, disturb: Callable[[], Awaitable[None]]) -> list[Invariant]:
        """Money moves while `disturb` does its work; at rest the books must be right."""
        before, faults, in_flight = set(self.wanted), self.faults, self.in_flight
        self.late.clear()
        over = asyncio.Event()
        moving = [asyncio.create_task(self._move(name, over)) for _ in range(IN_FLIGHT)]
        try:
            await disturb()
        finally:
            over.set()
            began = time.monotonic()
            await asyncio.gather(*moving)
        wanted = {run: transfers for run, transfers in self.wanted.items() if run not in before}
        books = await self.books()
        violations = check(wanted, books)
        violations["ended"] += self.late
        made, met = self.faults - faults, self.in_flight - in_flight
        vacuous = (
            "" if met * 2 >= made and len(wanted) >= made else f"{len(wanted)} runs, {met} of {made} faults met one"
        )
        seconds = time.monotonic() - began
        text = f"{name}: {len(wanted):,} runs, {made} faults, {met} met runs in flight, at rest after {seconds:.0f} s"
        self.console.print(text, highlight=False)
        tasks = sum(4 * len(transfers) + 1 for transfers in wanted.values())
        return [
            Invariant(f"scheduler.{name}.{rule.replace(' ', '_')}", tasks, made, found, vacuous)
            for rule, found in violations.items()
        ]

    async def fault(self, make: Callable[[], Awaitable[None]], *, breath: bool = False) -> None:
        """Make a fault, and note whether runs were going on. With `breath` a run has ended before each third one: where nothing
        can go on for a while after a fault, others would meet nothing new.
        """
        if breath and self.faults % BREATH == 0:
            await self._run_ended()
        await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        self.faults += 1
        self.in_flight += self.open > 0
        await make()

    async def _run_ended(self) -> None:
        """Return when one more run has ended."""
        before = self.ended
        async with asyncio.timeout(REST_SECONDS):
            while self.ended == before:  # noqa: ASYNC110 - they are many
                await asyncio.sleep(0.05)

    async def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        pid = self.mesh.pid(name)
        if pid is None:
            return
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    def stale(self) -> int:
        """How many completions the replicas say they had refused."""
        return sum((self.mesh.logs / f"{name}.log").read_bytes().count(STALE) for name in REPLICAS)

    async def books(self) -> Books:
        """All accounts and all runs."""
        books = Books()
        streams = self.clients[0].streams
        async for event in streams.read_category("account"):
            data = orjson.loads(event.data)
            account = event.stream.partition("-")[2]
            books.bookings.append(Booking(account, data["transfer"], data["amount"], data["mark"], tuple(data["seen"])))
        async for event in streams.read_category("run"):
            books.runs.setdefault(event.stream.partition("-")[2], []).append(event)
        return books

    async def _move(self, name: str, over: asyncio.Event) -> None:
        while not over.is_set():
            run = f"{name}{uuid.uuid4().hex}"
            moves = [self._transfer() for _ in range(TRANSFERS)]
            self.open += 1
            try:
                await self._start(run, moves)
                self.wanted[run] = moves
                await self._ended(run, over)
            finally:
                self.open -= 1

    def _transfer(self) -> Transfer:
        source, target = self.chance.sample(range(ACCOUNTS), 2)
        return Transfer(f"a{source}", f"a{target}", self.chance.randrange(1, 100))

    async def _start(self, run: str, moves: Sequence[Transfer]) -> None:
        """Until it is acknowledged, whatever dies meanwhile; always under the same id."""
        rows = [[move.source, move.target, move.amount] for move in moves]
        told = {"name": run, "moves": rows, "seconds": TASK_SECONDS}
        while True:
            try:
                await self.chance.choice(self.clients).workflows.start("transfers", told, run=run)
            except NervError:
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return

    async def _ended(self, run: str, over: asyncio.Event) -> None:
        deadline: float | None = None
        while deadline is None or time.monotonic() < deadline:
            if over.is_set() and deadline is None:
                deadline = time.monotonic() + REST_SECONDS
            try:
                await self.chance.choice(self.clients).workflows.wait(run, 2.0)
            except NervError:
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                self.ended += 1
                return
        self.late.append(f"{run} was acknowledged and did not end within {REST_SECONDS:g} s after the last fault")


@asynccontextmanager
async def opened(app: str, console: Console, seed: int) -> AsyncIterator[Bank]:
    """The bank on a mesh with three replicas of the scheduler, with its own Kafka and Redis."""
    async with AsyncExitStack() as stack:
        kafka, redis = await stack.enter_async_context(standing())
        mesh = await stack.enter_async_context(
            LocalMesh(
                app=app,
                services=["temporal", "scheduler"],
                replicas={"scheduler": len(REPLICAS)},
                folder=FOLDER / "scheduler",
                mesh=f"f{uuid.uuid4().hex[:8]}",
                kafka=kafka.address,
                redis=redis.address,
                env={
                    "PYTHONPATH": str(APPS),
                    "NERV_SCHEDULER__LEASE_SECONDS": str(LEASE_SECONDS),
                    "NERV_SCHEDULER__RETRY_LONGEST_SECONDS": "2",
                },
            )
        )
        temporal = mesh.url("temporal")
        clients = [
            await stack.enter_async_context(Client({"temporal": temporal, "scheduler": mesh.url(name)}))
            for name in REPLICAS
        ]
        yield Bank(mesh, kafka, redis, clients, console, random.Random(seed))  # noqa: S311 - no secret
