# SPDX-License-Identifier: Apache-2.0
"""Suite *scheduler*: workers killed and frozen, Redis killed and robbed, Kafka away, while workflows move money.

At every rest the money is all there, each transfer is booked once, each task has one result that everybody used, every run
that was acknowledged has ended, no task began before what it waits for, and of each account there was one withdrawal at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import structlog
from rich.console import Console

from nerv.errors import NervError
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from tests.faults.scheduler.bank import LEASE_SECONDS, REPLICAS, Bank, opened
from tests.faults.verdict import Invariant

KILLS, REDIS_KILLS, STOPS, ROBBERIES = 100, 30, 30, 15
KAFKA_AWAY, KAFKA_AWAY_LEAST = 60.0, 12.0  # s
STOP_SECONDS = 1.8 * LEASE_SECONDS
SEEDED_KILLS = 6
SEEDS = {
    "hasty_bank:app": "booked once",
    "forgetful_bank:app": "booked once",
    "crowded_bank:app": "one at a time",
}
"""Apps that put a bug into the scheduler that hosts them, and the rule that must find it."""
BAD = {
    "unknown": "nobody",
    "circle": "stamp#2",
    "unfit": "argument amount of task withdraw",
    "endless": "10000 tasks",
}
"""Workflows that cannot be run, and the place that the refusal must name."""

Disturb = Callable[[], Awaitable[None]]


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """First the checker is shown to find bugs, then the scheduler as it is is disturbed."""
    # Thousands of warnings are what this is about.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def times(full: int) -> int:
        return max(3, round(full * scale))

    found = [await _seeded(console)]
    async with opened("bank:app", console, seed=1) as bank:
        found += await bank.part("killed", kills(bank, times(KILLS)))
        found += await bank.part("redis_killed", redis_kills(bank, times(REDIS_KILLS)))
        stale = bank.stale()
        found += await bank.part("stopped", stops(bank, times(STOPS)))
        found.append(_stale(bank.stale() - stale, times(STOPS)))
        found += await bank.part("redis_robbed", robberies(bank, times(ROBBERIES)))
        found += await bank.part("kafka_away", kafka_away(bank, max(KAFKA_AWAY_LEAST, KAFKA_AWAY * scale)))
        found.append(await _bad_input(bank))
    return found


def kills(bank: Bank, count: int) -> Disturb:
    """Any replica is killed, and comes back."""

    async def disturb() -> None:
        for _ in range(count):
            name = bank.chance.choice(REPLICAS)
            await bank.fault(lambda name=name: bank.mesh.kill(name))  # type: ignore[misc]
            await bank.mesh.restart(name)

    return disturb


def redis_kills(bank: Bank, count: int) -> Disturb:
    """Redis is killed, and comes back with its append-only file."""

    async def disturb() -> None:
        for _ in range(count):
            await bank.fault(bank.redis.kill, breath=True)

    return disturb


def stops(bank: Bank, count: int) -> Disturb:
    """Any replica stands still for longer than its lease, and goes on as if nothing had been."""

    async def disturb() -> None:
        for _ in range(count):
            name = bank.chance.choice(REPLICAS)
            await bank.fault(lambda name=name: bank.freeze(name, STOP_SECONDS))  # type: ignore[misc]

    return disturb


def robberies(bank: Bank, count: int) -> Disturb:
    """Redis loses the group, its scripts, or everything, in turn."""

    async def disturb() -> None:
        redis = connect(RedisSettings(url=bank.redis.address), "faults")
        acts = (
            ("XGROUP", "DESTROY", f"{bank.mesh.mesh}:tasks:default", "workers"),
            ("SCRIPT", "FLUSH"),
            ("FLUSHALL",),
        )
        try:
            for number in range(count):
                act = acts[number % len(acts)]
                await bank.fault(lambda act=act: _do(redis, act), breath=True)  # type: ignore[misc]
        finally:
            await redis.aclose()

    return disturb


async def _do(redis: Redis, words: Sequence[str]) -> None:
    await redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py types it not


def kafka_away(bank: Bank, seconds: float) -> Disturb:
    """Kafka is killed, and comes back after a while."""

    async def disturb() -> None:
        await bank.fault(lambda: bank.kafka.kill(seconds))

    return disturb


def _stale(count: int, stops: int) -> Invariant:
    """Whoever was frozen for longer than his lease comes with results that are another's by now: refused, and counted."""
    vacuous = "" if count else "no completion was stale"
    return Invariant("scheduler.stale_refused", count, stops, [], vacuous)


async def _seeded(console: Console) -> Invariant:
    missed = []
    for app, rule in SEEDS.items():
        async with opened(app, console, seed=2) as bank:
            found = await bank.part("seeded", kills(bank, SEEDED_KILLS))
        broken = {one.name.rpartition(".")[2] for one in found if one.violations}
        if rule.replace(" ", "_") not in broken:
            missed.append(f"{app} was not found: {rule} holds")
    return Invariant("scheduler.seeded", len(SEEDS), SEEDED_KILLS * len(SEEDS), missed)


async def _bad_input(bank: Bank) -> Invariant:
    """What cannot be run is refused before anything runs, with the place; what shows itself later ends its run."""
    client, complaints = bank.clients[0], []
    for workflow, place in BAD.items():
        try:
            await client.workflows.start(workflow)
        except NervError as error:
            if place not in str(error):
                complaints.append(f"{workflow}: the refusal does not name {place!r}: {error}")
        else:
            complaints.append(f"{workflow} was accepted")
    run = (await client.workflows.start("unencodable"))["run"]
    async with asyncio.timeout(60):
        ended = await client.workflows.wait(run, 60)
    if ended["status"] != "failed" or "opaque" not in str(ended["error"]):
        complaints.append(f"unencodable: {ended['status']}, {ended['error']}")
    return Invariant("scheduler.bad_input", len(BAD) + 1, len(BAD) + 1, complaints)
