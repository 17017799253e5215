# SPDX-License-Identifier: Apache-2.0
"""How much waits, looked at once a second: it is shown, told to OpenTelemetry for autoscalers, and refuses new runs when full."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from nerv.errors import NervError, Overloaded
from nerv.protocols.queue import Depth, SharedWork
from nerv.telemetry import names as n

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
        self._tell(meter or metrics.get_meter("nerv"))

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

    def _tell(self, meter: Meter) -> None:
        def depths(options: CallbackOptions) -> Iterable[Observation]:
            yield Observation(self.depth.ready, {n.QUEUE: "default", n.STATE: "ready"})
            yield Observation(self.depth.taken, {n.QUEUE: "default", n.STATE: "taken"})
            yield Observation(self.depth.delayed, {n.QUEUE: "default", n.STATE: "delayed"})

        def lag(options: CallbackOptions) -> Iterable[Observation]:
            yield Observation(self.depth.oldest_seconds, {n.QUEUE: "default"})

        def busy(options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(pool.busy, {n.POOL: name}) for name, pool in self._pools().items()]

        def size(options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(pool.size, {n.POOL: name}) for name, pool in self._pools().items()]

        def counted(options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, {n.WHAT: name}) for name, value in self._counts.items()]

        meter.create_observable_gauge(
            n.QUEUE_DEPTH, [depths], description="Tasks that wait, are taken, or are due later"
        )
        meter.create_observable_gauge(n.QUEUE_LAG, [lag], "s", "Age of the oldest task that nobody has taken")
        meter.create_observable_gauge(n.POOL_BUSY, [busy], description="Places of a pool that are taken")
        meter.create_observable_gauge(n.POOL_SIZE, [size], description="Places of a pool")
        meter.create_observable_counter(n.WORK_COUNT, [counted], description="What a replica has counted of its work")
