# SPDX-License-Identifier: Apache-2.0
"""What our user of Redis may not."""

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoPermissionError

from nerv.redis.connection import Redis, mapped

ANY = "rights"  # what stands for the rest of a key


async def refused_keys(redis: Redis, patterns: Sequence[str]) -> list[str]:
    """Those of these patterns (with * at their ends) whose keys we may not read. Raises Misconfigured, or when Redis is away."""
    with mapped("rights"):
        async with redis.pipeline(transaction=False) as pipe:
            for pattern in patterns:
                pipe.get(pattern.replace("*", ANY))
            found: list[Any] = await pipe.execute(raise_on_error=False)
    return [p for p, answer in zip(patterns, found, strict=True) if isinstance(answer, NoPermissionError)]
