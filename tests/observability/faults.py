# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on purpose, and which alerts must fire meanwhile. A fault is there while its block runs, and mended after."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import redis.asyncio

from nerv.cancelling import end
from nerv.errors import NervError
from tests.observability.stage import PROJECTION, SYNC, TOPIC, Stage, noted

MANY = 300  # events and tasks: more than the shortened rules allow to wait


class Fault(NamedTuple):
    """A fault, and the alerts that it makes fire."""

    name: str
    make: Callable[[Stage], AbstractAsyncContextManager[None]]
    alerts: tuple[str, ...]


@asynccontextmanager
async def killed(stage: Stage) -> AsyncIterator[None]:
    """The process of a service is killed, and nobody starts it again. Others cannot do without it, and say so."""
    await stage.mesh.kill("temporal")
    yield
    await stage.mesh.restart("temporal")


@asynccontextmanager
async def poisoned(stage: Stage) -> AsyncIterator[None]:
    """An event that the reaction does not take, and one that the projection cannot fold."""
    bad = noted("bad", 13)
    await stage.publish([noted("worse", -1), bad])
    yield
    [parked] = (await stage.client.projections.parked(PROJECTION))["parked"]
    await stage.client.projections.skip(PROJECTION, parked["event"])


@asynccontextmanager
async def nobody_reads(stage: Stage) -> AsyncIterator[None]:
    """A group without a member, to which events come."""
    await stage.client.subscriptions.make("idle", {"topic": TOPIC, "from": "earliest"})
    await stage.publish([noted(f"idle-{number % 50}", 20 + number) for number in range(MANY)])
    yield
    await stage.client.subscriptions.delete("idle")


@asynccontextmanager
async def paused(stage: Stage) -> AsyncIterator[None]:
    """A projection is paused, while events come."""
    await stage.client.projections.pause(PROJECTION)
    yield
    await stage.client.projections.resume(PROJECTION)


@asynccontextmanager
async def redis_wiped(stage: Stage) -> AsyncIterator[None]:
    """Redis loses all that it has, and the projection is not let rebuild its views."""
    await stage.client.projections.pause(PROJECTION)
    async with redis.asyncio.Redis.from_url(stage.mesh.context["redis"]) as server:
        await server.flushall()
    yield
    await stage.client.projections.resume(PROJECTION)


@asynccontextmanager
async def redis_away(stage: Stage) -> AsyncIterator[None]:
    """Redis does not answer."""
    with stage.stopped("redis"):
        yield


@asynccontextmanager
async def kafka_away(stage: Stage) -> AsyncIterator[None]:
    """Kafka does not answer."""
    with stage.stopped("kafka"):
        yield


@asynccontextmanager
async def kafka_slow(stage: Stage) -> AsyncIterator[None]:
    """Kafka stands still again and again, for less than it takes to give it up."""

    async def stutter() -> None:
        while True:
            with stage.stopped("kafka"):
                await asyncio.sleep(3)
            await asyncio.sleep(2)

    stuttering = asyncio.create_task(stutter())
    try:
        yield
    finally:
        await end(stuttering)


@asynccontextmanager
async def tasks_wait(stage: Stage) -> AsyncIterator[None]:
    """Tasks that take all places, and others behind them."""
    await stage.client.workflows.start("waiting", {"count": MANY})
    yield
    (stage.folder / "open").touch()


@asynccontextmanager
async def tasks_fail(stage: Stage) -> AsyncIterator[None]:
    """Tasks that fail."""
    for _ in range(20):
        await stage.client.workflows.start("failing")
    yield


@asynccontextmanager
async def source_gone(stage: Stage) -> AsyncIterator[None]:
    """A run whose file is not there."""
    try:
        await stage.client.syncs.run(SYNC)
    except NervError:
        yield
    else:
        raise AssertionError("a run without its file was done")


FAULTS = (
    Fault("a service is killed", killed, ("NervServiceDown", "NervServiceAbsent", "NervCheckFails")),
    Fault("events that cannot be processed", poisoned, ("NervDeadLetters", "NervKeysParked")),
    Fault("a group that nobody reads", nobody_reads, ("NervGroupLag", "NervGroupDelay")),
    Fault("a paused projection", paused, ("NervProjectionDelay",)),
    Fault("tasks that hang", tasks_wait, ("NervQueueOld", "NervQueueDeep", "NervPoolFull")),
    Fault("tasks that fail", tasks_fail, ("NervTasksFail",)),
    Fault("a source that is gone", source_gone, ("NervSyncFails",)),
    Fault("Redis is wiped", redis_wiped, ("NervProjectionRebuilding",)),
    Fault("Redis is away", redis_away, ("NervRedisFails", "NervRequestsFail")),
    Fault("Kafka is away", kafka_away, ("NervCommitsFail", "NervOwnershipFlaps")),
    Fault("Kafka stutters", kafka_slow, ("NervCommitsSlow", "NervAppendsSlow")),
)
