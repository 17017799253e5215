# SPDX-License-Identifier: Apache-2.0
"""Signs of life on a real Redis, and without it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from nerv import App
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from nerv.service import Health
from nerv.service.alive import FORGET_SECONDS, Alive
from nerv.service.describe import About, Replica
from nerv.service.heartbeat import Heartbeat
from nerv.service.settings import ServiceSettings


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client."""
    client = connect(RedisSettings(url=redis_url), "test")
    yield client
    await client.aclose()


@pytest.fixture
def alive(redis: Redis) -> Alive:
    """Those of a mesh of the test's own."""
    return Alive(redis, f"t{uuid.uuid4().hex[:8]}")


def replica(instance: str, figures: Callable[[], dict[str, Any]] = dict) -> Replica:
    """One that is ready."""
    settings = ServiceSettings(mesh="m", app="flights:app", instance=instance)
    health = Health()
    health.started()
    return Replica("echo", lambda: About(settings, App("shop"), ["in"], ["out"], figures=figures()), health)


async def until(alive: Alive, instances: list[str]) -> list[dict[str, Any]]:
    """Once exactly these are alive, what they say."""
    async with asyncio.timeout(30):
        while True:
            found = await alive.replicas()
            if [one["instance"] for one in found] == instances:
                return found
            await asyncio.sleep(0.02)


async def test_replicas_are_listed_while_they_live(alive: Alive, redis: Redis) -> None:
    """Each with what it says, under a key that expires; who ends is gone at once, and nothing of it stays."""
    async with Heartbeat(replica("b"), alive, "b"):
        async with Heartbeat(replica("a"), alive, "a"):
            first, _ = await until(alive, ["a", "b"])
            assert first["health"] == {"status": "ok", "phase": "running", "faults": {}}
            assert "settings" not in first
            assert 0 < await redis.ttl(f"{alive.mesh}:mesh:alive:echo:a") <= 7
        assert [one["instance"] for one in await alive.replicas()] == ["b"]
    assert await redis.keys(f"{alive.mesh}:*") == []


async def test_who_dies_without_a_word_is_forgotten(alive: Alive, redis: Redis) -> None:
    """Its document expires, and its name is cleared away by whoever looks, or in the end by whoever lives on."""
    names = f"{alive.mesh}:mesh:alive"
    for dead in ("long-dead", "dead"):
        await alive.say("echo", dead, {"instance": dead})
        await redis.delete(f"{names}:echo:{dead}")  # as if it had expired
    await redis.zincrby(names, -2 * FORGET_SECONDS, "echo:long-dead")
    await alive.say("echo", "a", {"instance": "a"})
    assert await redis.zrange(names, 0, -1) == [b"echo:dead", b"echo:a"]
    assert [one["instance"] for one in await alive.replicas()] == ["a"]
    assert await redis.zrange(names, 0, -1) == [b"echo:a"]


async def test_a_fault_of_what_is_said_harms_nobody(alive: Alive) -> None:
    """The heart goes on beating, and is heard once it can be."""
    wrong = [True]

    def figures() -> dict[str, Any]:
        if wrong:
            raise ZeroDivisionError
        return {}

    async with Heartbeat(replica("a", figures), alive, "a") as heart:
        async with asyncio.timeout(30):
            while heart.describe().health == "ok":  # noqa: ASYNC110 - it changes by itself
                await asyncio.sleep(0.01)
        wrong.clear()
        heart.soon()
        await until(alive, ["a"])
        async with asyncio.timeout(30):
            while heart.describe().health != "ok":  # noqa: ASYNC110 - once Redis's answer is here, too
                await asyncio.sleep(0.01)


async def test_without_redis_a_service_lives_on_unseen() -> None:
    """Entering and leaving wait for nobody."""
    away = connect(RedisSettings(url="redis://127.0.0.1:1"), "test")
    async with asyncio.timeout(10), Heartbeat(replica("a"), Alive(away, "m"), "a") as heart:
        while heart.describe().health == "ok":  # noqa: ASYNC110 - it changes by itself
            await asyncio.sleep(0.01)
    assert heart.describe().counters == {"beats": 0}
    await away.aclose()
