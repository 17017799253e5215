# SPDX-License-Identifier: Apache-2.0
"""The view port: in memory, and on a real Redis."""

from collections.abc import AsyncIterator

import pytest

from nerv.protocols.views import View, Views
from nerv.redis import RedisSettings, connect
from nerv.testing.contracts.views import FIRST, ZERO, ViewsContract, begun, step
from nerv.testing.memory_views import MemoryViews
from nerv_projector.views import RedisViews


class TestMemoryViews(ViewsContract):
    """The memory views keep the contract."""

    @pytest.fixture
    def views(self) -> Views:
        """A new store for each test."""
        return MemoryViews()


class TestRedisViews(ViewsContract):
    """The views on Redis keep the contract."""

    @pytest.fixture
    async def views(self, redis_url: str, mesh_name: str) -> AsyncIterator[RedisViews]:
        """A mesh of its own for each test."""
        redis = connect(RedisSettings(url=redis_url), "test")
        yield RedisViews(redis, mesh_name, "thing")
        keys = [key async for key in redis.scan_iter(f"{mesh_name}:*")]
        if keys:
            await redis.unlink(*keys)
        await redis.aclose()

    async def test_discarding_leaves_nothing(self, views: RedisViews) -> None:
        """Neither epoch nor views; it may be repeated, and another epoch begins empty."""
        await begun(views)
        await views.apply(FIRST, {0: step(ZERO, 1)}, {"a": View(1, b"1")})
        await views.discard()
        await views.discard()
        assert await views.epoch() is None
        assert await views.load(FIRST, ["a"]) == {}
        assert (await views.progress(FIRST)).entities == 0
