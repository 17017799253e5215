# SPDX-License-Identifier: Apache-2.0
"""Follow a whole topic into memory, and know how far that has come."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from nerv.cancelling import end
from nerv.errors import Unavailable
from nerv.kafka.consumer import BatchConsumer
from nerv.kafka.records import Received
from nerv.kafka.settings import KafkaSettings
from nerv.types import Description, Health

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.02


class Follower:
    """Hands every committed record of a topic to `apply`, partition by partition in order. Use as `async with`.

    No group assigns its partitions, and none of its offsets are kept: it reads anew whenever it starts, at most `most`
    offsets of each partition.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        name: str,
        topic: str,
        partitions: int,
        apply: Callable[[Sequence[Received]], None],
        *,
        most: int | None = None,
    ) -> None:
        """`name` is the client's, and of a group that is only a name."""
        self._settings, self._name, self._topic, self._count = settings, name, topic, partitions
        self._apply = apply
        self._most = most
        self._next: dict[int, int] = defaultdict(int)
        self._moved: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._ends: dict[int, int] = {}
        self._consumer: BatchConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self.crashed: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        async with BatchConsumer(self._settings, f"{self._name}-bounds", self._name) as consumer:
            bounds = {p: await consumer.bounds((self._topic, p)) for p in range(self._count)}
        self._ends = {partition: high for partition, (_, high) in bounds.items()}
        for partition, (low, high) in bounds.items():
            self._next[partition] = low if self._most is None else max(low, high - self._most)
        self._task = asyncio.create_task(self._follow(), name=f"follow {self._topic}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end(self._task)

    def crash(self, error: Exception) -> None:
        """Have the service end with this error, if it gave a `crashed` to be told by."""
        if self.crashed is not None and not self.crashed.done():
            self.crashed.set_exception(error)

    def describe(self) -> Description:
        """The follower as data: how far it has come."""
        task = self._task
        return Description(
            "Follower",
            self._topic,
            inputs=(self._topic,),
            counters={f"next/{partition}": offset for partition, offset in sorted(self._next.items())},
            health=Health.OK if task is not None and not task.done() else Health.DOWN,
        )

    async def caught_up(self) -> None:
        """Wait until all is read that was there when this was entered, however long it takes. Raises Unavailable."""
        # The log may end with transaction markers, which no consumer sees; then only the consumer's end tells.
        for partition, high in self._ends.items():
            while max(self._next[partition], self._ended(partition)) < high:
                self._check()
                await asyncio.sleep(POLL_SECONDS)

    async def reached(self, partition: int, offset: int, seconds: float) -> None:
        """Wait until the record at `offset` has been applied. Raises Unavailable when time is up."""
        deadline = time.monotonic() + seconds
        while self._next[partition] <= offset:
            self._check()
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable(f"{self._topic}/{partition} was not read up to {offset} within {seconds:g} s")
            moved = self._moved[partition]
            moved.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(moved.wait(), min(left, 1.0))

    def _ended(self, partition: int) -> int:
        return 0 if self._consumer is None else self._consumer.ended.get((self._topic, partition), 0)

    def _check(self) -> None:
        if self._task is None or self._task.done():
            raise Unavailable(f"{self._topic} is not read any more; is Kafka well?")

    async def _follow(self) -> None:
        start = {(self._topic, partition): offset for partition, offset in self._next.items()}
        try:
            async with BatchConsumer(self._settings, self._name, self._name, assign=start, ends=True) as consumer:
                self._consumer = consumer
                async for batch in consumer.batches():
                    self._take(batch)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("follow.failed", topic=self._topic)
            self.crash(error)

    def _take(self, batch: Sequence[Received]) -> None:
        self._apply(batch)
        for record in batch:
            self._next[record.partition()] = record.offset() + 1
        for partition in {record.partition() for record in batch}:
            self._moved[partition].set()
