# SPDX-License-Identifier: Apache-2.0
"""A copy in Redis of which version of a projection is live, for whoever reads views there by himself.

The control topic is the truth. `<mesh>:{<projection>}:live` is a hash: `version`; `offset`, the decision in the control topic by
which it is so, that no later copy can be replaced by an earlier one; `topic`, Kafka's id of that topic.
"""

from nerv.redis import Scripts
from nerv.redis.connection import Redis


class LiveCopy:
    """Written by every replica when it hears of a decision, and looked after, for Redis may lose it."""

    def __init__(self, redis: Redis, mesh: str) -> None:
        self._scripts, self._mesh = Scripts(redis, "nerv_projector.views"), mesh

    async def keep(self, projection: str, version: int, *, topic: str, offset: int) -> None:
        """Have the copy say this, unless a later decision stands there. Raises Unavailable or UnknownOutcome; then repeat it."""
        await self._scripts("live", [f"{self._mesh}:{{{projection}}}:live"], [topic, str(offset), str(version)])
