# SPDX-License-Identifier: Apache-2.0
"""Who should own a partition, by a consumer group. It says who is alive and proves nothing: fences prove."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from nerv.kafka.settings import KafkaSettings
from nerv.types import Description, Health

log = structlog.get_logger(__name__)

MAX_POLL_MS = 10_000  # a process whose threads are stuck loses its partitions after this
REVOKE_SECONDS = (
    6.0  # how long a revoke may wait for the work in hand, below the time in which the group gives up on us
)

Change = Callable[[set[int]], Awaitable[None]]


class Membership:
    """A member of `group` on `topic`, whose assigned partitions stay paused: only the assignment matters.

    `gained(partitions)` is started on the loop (with none, when the group has none to give); `lost(partitions)` is
    awaited before the group goes on (a revoke), or called after the fact when the group has already dropped us. Use as
    `async with`: leaving hands over at once.
    """

    def __init__(
        self, settings: KafkaSettings, client_id: str, group: str, topic: str, *, gained: Change, lost: Change
    ) -> None:
        self._consumer = Consumer(
            settings.consumer(client_id, group)
            | {
                "max.poll.interval.ms": MAX_POLL_MS,
                "partition.assignment.strategy": "cooperative-sticky",
                "auto.offset.reset": "latest",  # nothing is read through this consumer
            }
        )
        self.name = client_id
        self._topic, self._group = topic, group
        self._assigned: set[int] = set()
        self._changes = 0
        self._gained = gained
        self._lost = lost
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{client_id}-member", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def describe(self) -> Description:
        """The member as data: which partitions the group has given it. It is down once its thread has ended."""
        return Description(
            "Membership",
            self.name,
            inputs=(self._group,),
            outputs=tuple(f"{self._topic}/{number}" for number in sorted(self._assigned)),
            counters={"changes": self._changes, "partitions": len(self._assigned)},
            health=Health.OK if self._thread.is_alive() else Health.DOWN,
        )

    def _run(self) -> None:
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        while not self._stopping.is_set():
            message = self._consumer.poll(0.2)
            if message is not None and message.error() is not None:
                log.warning("membership", topic=self._topic, error=message.error().str())
        try:
            self._consumer.close()
        except KafkaException as error:
            log.warning("membership.close", error=str(error))

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        self._assigned |= {p.partition for p in partitions}
        self._changes += 1
        self._call(self._gained, partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        self._assigned -= {p.partition for p in partitions}
        self._changes += 1
        try:
            self._call(self._lost, partitions).result(REVOKE_SECONDS)
        except TimeoutError:
            # The fence, not this callback, keeps data safe: the work in hand will fail when the next owner takes over.
            log.warning("membership.revoke", detail="work in hand did not end in time", topic=self._topic)

    def _call(self, change: Change, partitions: list[TopicPartition]) -> Future[None]:
        if self._loop is None:
            raise RuntimeError("started without a loop")
        numbers = {p.partition for p in partitions}

        async def run() -> None:
            await change(numbers)

        return asyncio.run_coroutine_threadsafe(run(), self._loop)
