# SPDX-License-Identifier: Apache-2.0
"""What kills a replica while it writes, and what it finds gone."""

import asyncio
from collections.abc import Awaitable, Callable

from nerv.dev.mesh import LocalMesh
from nerv.redis import RedisSettings, connect


class Bomb:
    """Kills a replica at the n-th moment of a kind (`before` or `after` a batch is written); `meanwhile` happens before the first
    write of all, and `rob` as it dies.
    """

    def __init__(
        self,
        mesh: LocalMesh,
        victim: str,
        number: int,
        moment: str,
        *,
        meanwhile: Callable[[], None],
        rob: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._mesh = mesh
        self._victim = victim
        self._left = number
        self._moment = moment
        self._meanwhile: Callable[[], None] | None = meanwhile
        self._rob = rob
        self.armed = bool(victim)
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
            if self._rob is not None:  # what it would still read of its digests is gone
                await self._rob()
            await self._mesh.kill(self._victim)
            self.went_off.set()


async def rob(mesh: LocalMesh) -> None:
    """Redis loses everything: the digests of all sides, and of what was agreed on."""
    redis = connect(RedisSettings(url=mesh.context["redis"]), "faults")
    try:
        await redis.flushall()
    finally:
        await redis.aclose()
