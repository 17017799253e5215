# SPDX-License-Identifier: Apache-2.0
"""Who should own a partition, by a consumer group. It says who is alive and proves nothing: fences prove."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import structlog
from confluent_kafka import Consumer, TopicPartition

from nerv.errors import NervError
from nerv.kafka.admin import Admin
from nerv.kafka.leaving import leave
from nerv.kafka.settings import KafkaSettings
from nerv.telemetry import counter
from nerv.telemetry import names as n
from nerv.types import Description, Health

log = structlog.get_logger(__name__)

MAX_POLL_MS = 10_000  # a process whose threads are stuck loses its partitions after this
# How soon a member hears that the group changes. A hand-over is two such changes, and nobody serves meanwhile (docs/adr/0008).
HEARTBEAT_MS = 300
POLL_SECONDS = 0.1  # how long leaving may wait for the thread
ASK_SECONDS = 2.0  # for what the group says of itself, far below MAX_POLL_MS
REVOKE_SECONDS = (
    6.0  # how long a revoke may wait for the work in hand, below the time in which the group gives up on us
)

changes = counter(n.OWNERSHIP_CHANGES)

Change = Callable[[set[int]], Awaitable[None]]


class Membership:
    """A member of `group` on `topic`, whose assigned partitions stay paused: only the assignment matters.

    `gained(partitions)` is started on the loop (with none, when the group has none to give); `lost(partitions)` is
    awaited before the group goes on (a revoke), or called after the fact when the group has already dropped us. Use as
    `async with`: leaving hands over at once.

    A member that comes to others is given its share in a second round, when they have let go of it: `settled` is True from
    when this member has had a share, or the group is at rest and has none for it.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        client_id: str,
        group: str,
        topic: str,
        partitions: int,
        *,
        gained: Change,
        lost: Change,
    ) -> None:
        self._config = settings.consumer(client_id, group) | {
            "max.poll.interval.ms": MAX_POLL_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "partition.assignment.strategy": "cooperative-sticky",
            "auto.offset.reset": "latest",  # nothing is read through this consumer
        }
        self._admin = Admin(settings, f"{client_id}-group")
        self.name = client_id
        self.settled = False
        self._joined = False
        self._shared = False  # it was told of partitions, on the loop
        self._topic, self._count, self._group = topic, partitions, group
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
        consumer = Consumer(self._config)  # here, so that it is polled from its first moment
        consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)
        while not self._stopping.is_set():
            message = consumer.poll(POLL_SECONDS)
            if message is not None and message.error() is not None:
                log.warning("membership", topic=self._topic, error=message.error().str())
            self.settled = self.settled or self._has_settled()
        leave(consumer)

    def _has_settled(self) -> bool:
        if self._shared or self._assigned or not self._joined:
            return self._shared
        try:
            group = self._admin.group(self._group, ASK_SECONDS)
        except NervError:
            return False  # asked again
        # Kafka may be at rest with a share of ours that has not come here yet.
        return group.stable and len(group.assigned) == self._count and self.name in group.idle

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        self._assigned |= {p.partition for p in partitions}
        self._joined = True
        self._count_change("gained", partitions)
        self._call(self._gain, partitions)

    async def _gain(self, partitions: set[int]) -> None:
        self._shared = self._shared or bool(partitions)
        await self._gained(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if not partitions:
            return
        self._assigned -= {p.partition for p in partitions}
        self._count_change("lost", partitions)
        try:
            self._call(self._lost, partitions).result(REVOKE_SECONDS)
        except TimeoutError:
            # The fence, not this callback, keeps data safe: the work in hand will fail when the next owner takes over.
            log.warning("membership.revoke", detail="work in hand did not end in time", topic=self._topic)

    def _count_change(self, change: str, partitions: list[TopicPartition]) -> None:
        self._changes += 1
        changes.add(len(partitions), {n.DESTINATION: self._topic, n.CHANGE: change})

    def _call(self, change: Change, partitions: list[TopicPartition]) -> Future[None]:
        if self._loop is None:
            raise RuntimeError("started without a loop")
        numbers = {p.partition for p in partitions}

        async def run() -> None:
            await change(numbers)

        return asyncio.run_coroutine_threadsafe(run(), self._loop)
