# SPDX-License-Identifier: Apache-2.0
"""Who is alive, on Redis. For people and for programs that look after a mesh: no decision about data hangs on it.

| key | holds |
| --- | --- |
| `<mesh>:mesh:alive:<service>:<instance>` | JSON that the replica says of itself; it expires when it says nothing more |
| `<mesh>:mesh:alive` | sorted set of those names, so that nobody goes through all keys; by when each was said last |
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import orjson

from nerv.errors import Unavailable
from nerv.redis import mapped
from nerv.redis.connection import Redis
from nerv.types import Description

EXPIRE_SECONDS = 7  # a replica that is silent for so long is not there
FORGET_SECONDS = 3600.0  # its name is forgotten then at the latest; no clock is as wrong as that
LOOK_SECONDS = 1.0
REPLICAS = 500  # that are told of


class Alive:
    """The signs of life of a mesh. All raise a NervError while Redis is away."""

    def __init__(self, redis: Redis, mesh: str) -> None:
        self._redis = redis
        self.mesh = mesh
        self._names = f"{mesh}:mesh:alive"

    async def say(self, service: str, instance: str, document: Mapping[str, Any]) -> None:
        """A replica is alive, and this is what it says."""
        name, now = f"{service}:{instance}", time.time()
        with mapped("SET"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.set(
                    f"{self._names}:{name}",
                    orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY),
                    ex=EXPIRE_SECONDS,
                )
                pipe.zadd(self._names, {name: now})
                pipe.zremrangebyscore(self._names, "-inf", now - FORGET_SECONDS)
                await pipe.execute()

    async def gone(self, service: str, instance: str) -> None:
        """A replica has ended."""
        name = f"{service}:{instance}"
        with mapped("DEL"):
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(f"{self._names}:{name}")
                pipe.zrem(self._names, name)
                await pipe.execute()

    async def replicas(self) -> list[dict[str, Any]]:
        """What each of those says that are alive, by service and instance. Waits for Redis no longer than people do."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._replicas()
        except TimeoutError:
            raise Unavailable(f"Redis did not say within {LOOK_SECONDS:g} s who is alive", retry_after=1.0) from None

    async def _replicas(self) -> list[dict[str, Any]]:
        with mapped("MGET"):
            names: Any = await self._redis.zrange(self._names, -REPLICAS, -1)
            keys = [f"{self._names}:{name.decode()}" for name in sorted(names)]
            found = await self._redis.mget(keys) if keys else []
            # Whoever comes back meanwhile says so again two seconds later.
            if silent := [name for name, told in zip(sorted(names), found, strict=True) if told is None]:
                await self._redis.zrem(self._names, *silent)
        return [orjson.loads(told) for told in found if told is not None]

    def describe(self) -> Description:
        """Where it stands."""
        return Description("Alive", self.mesh, outputs=(self._names,))
