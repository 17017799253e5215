# SPDX-License-Identifier: Apache-2.0
"""How much waits, looked at once a second: it is shown, told to OpenTelemetry for autoscalers, and refuses new runs when full."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog
from opentelemetry.metrics import Meter

from nerv.errors import NervError, Overloaded
from nerv.protocols.queue import Depth, SharedWork
from nerv.telemetry import names as n
from nerv.telemetry import observe
from nerv.telemetry.instruments import Seen

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
RETRY_SECONDS = 5.0  # after which whoever was refused may come again


class Pool(NamedTuple):
    """How many of a pool's places are taken, and how many there are."""

    busy: int
    size: int


class Pressure:
    """Looks from entering to leaving. `pools` gives the pools of this replica by name, `counts` is what it has counted."""

    def __init__(
        self,
        queue: SharedWork,
        most: int,
        pools: Callable[[], Mapping[str, Pool]],
        counts: Counter[str],
        meter: Meter | None = None,
    ) -> None:
        self.depth = Depth()
        self._queue = queue
        self._most = most
        self._pools = pools
        self._counts = counts
        self._looking: asyncio.Task[None] | None = None
        self._tell(meter)

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    def check(self) -> None:
        """Raises Overloaded while more nodes wait than may."""
        if self.depth.ready > self._most:
            raise Overloaded(
                f"{self.depth.ready} tasks wait for a worker, and {self._most} may; come again later, or add replicas",
                retry_after=RETRY_SECONDS,
            )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        depth = self.depth
        queue = {
            "queue": "default",
            "ready": depth.ready,
            "taken": depth.taken,
            "delayed": depth.delayed,
            "lag_seconds": depth.oldest_seconds,
        }
        pools = {name: {"busy": pool.busy, "size": pool.size} for name, pool in self._pools().items()}
        return {"queues": [queue], "pools": pools, "counters": dict(self._counts)}

    async def _look(self) -> None:
        while True:
            try:
                self.depth = await self._queue.depth()
            except NervError as error:
                log.warning("depth.not_read", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    def _tell(self, meter: Meter | None) -> None:
        def depths() -> Seen:
            depth, at = self.depth, {n.QUEUE: "default"}
            counted = (("ready", depth.ready), ("taken", depth.taken), ("delayed", depth.delayed))
            return [(count, {**at, n.STATE: state}) for state, count in counted]

        observe(n.QUEUE_DEPTH, depths, meter)
        observe(n.QUEUE_LAG, lambda: [(self.depth.oldest_seconds, {n.QUEUE: "default"})], meter)
        observe(n.POOL_BUSY, lambda: [(pool.busy, {n.POOL: name}) for name, pool in self._pools().items()], meter)
        observe(n.POOL_SIZE, lambda: [(pool.size, {n.POOL: name}) for name, pool in self._pools().items()], meter)
        observe(n.WORK_COUNT, lambda: [(count, {n.WHAT: what}) for what, count in list(self._counts.items())], meter)
