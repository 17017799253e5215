# SPDX-License-Identifier: Apache-2.0
"""The copy in Redis of what is live."""

from nerv.redis import RedisSettings, connect
from nerv_projector.views import LiveCopy


async def test_a_later_decision_is_not_overwritten_by_an_earlier_one(redis_url: str, mesh_name: str) -> None:
    """Replicas hear of decisions at different times; a topic that was made anew begins again."""
    redis = connect(RedisSettings(url=redis_url), "test")
    try:
        copy = LiveCopy(redis, mesh_name)

        async def kept() -> object:
            return await redis.hget(f"{mesh_name}:{{plane}}:live", "version")

        for version, offset, wanted in ((1, -1, b"1"), (2, 5, b"2"), (1, -1, b"2"), (2, 5, b"2"), (1, 9, b"1")):
            await copy.keep("plane", version, topic="a", offset=offset)
            assert await kept() == wanted
        await copy.keep("plane", 3, topic="b", offset=0)
        assert await kept() == b"3"
    finally:
        await redis.aclose()
