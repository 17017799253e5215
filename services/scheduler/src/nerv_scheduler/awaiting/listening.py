# SPDX-License-Identifier: Apache-2.0
"""Read the topics that workflows await, as a group: events are handed to the runs that wait for them, then offsets are committed.

While the queue may have lost who waits for what, nothing is read on. So no event is passed over because Redis was wiped.
"""

import asyncio
import random
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import structlog

from nerv.cancelling import end
from nerv.errors import NervError
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.kafka.lagging import Behind
from nerv.protocols.queue import Queue, Waiter
from nerv.telemetry import by_topic, processed
from nerv.telemetry.traffic import saw
from nerv_scheduler.awaiting.delivering import Deliverer
from nerv_scheduler.awaiting.matching import Arrived, Matching
from nerv_scheduler.patience import Patience

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.25  # how often it is looked whether the queue is intact again
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
BATCH = 1000  # records
AT_ONCE = 16  # runs that are told at once


class Listener:
    """Reads from entering to leaving. `crashed` is set when it fails for good."""

    def __init__(
        self,
        kafka: KafkaSettings,
        name: str,
        group: str,
        matching: Matching,
        queue: Queue,
        deliverer: Deliverer,
        patience: Patience,
    ) -> None:
        self.crashed: asyncio.Future[None] | None = None
        self._kafka, self._name, self._group = kafka, name, group
        self._matching, self._queue, self._deliverer, self._patience = matching, queue, deliverer, patience
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._fault: str | None = None
        self._room = asyncio.Semaphore(AT_ONCE)
        self.behind = Behind(group)

    def fault(self) -> str | None:
        """Why events are not heard; None when they are."""
        return self._fault

    async def __aenter__(self) -> Self:
        if self._matching.topics:
            self._task = asyncio.create_task(self._listen(), name="awaited events")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._task is not None:
            # What is given up here comes again: its offsets are not committed.
            await end(self._task)

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                await self._read()
                pause = FIRST_PAUSE
            except NervError as error:
                self._fault = f"cannot hear awaited events: {error}"
                log.warning("awaited.again", error=str(error))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception as error:
                log.exception("awaited.crashed")
                if self.crashed is not None and not self.crashed.done():
                    self.crashed.set_exception(error)
                return

    async def _read(self) -> None:
        consumer = BatchConsumer(
            self._kafka,
            f"{self._name}-awaited",
            self._group,
            topics=self._matching.topics,
            reset="earliest",
            batch=BATCH,
        )
        self.behind = Behind(self._group)
        async with consumer:
            watching = asyncio.create_task(self.behind.watch(consumer), name="awaited-lag")
            try:
                async for batch in consumer.batches():
                    await self._settle(batch, consumer)
            finally:
                await end(watching)

    async def _settle(self, batch: Sequence[Received], consumer: BatchConsumer) -> None:
        ends = _next_offsets(batch)
        self.behind.reads(ends, batch[0].timestamp()[1])
        counts = by_topic(batch, self._matching.topics)
        with processed(self._group, counts):
            await self.hear(batch)
        for topic, count in counts.items():
            saw(f"topic:{topic}", "service:scheduler", count)
        await consumer.commit(ends)
        self.behind.settles(ends)
        self._fault = None

    async def hear(self, batch: Sequence[Received]) -> None:
        """Hand the events of a batch to who waits for them; of two for one wait the first in the topic counts."""
        arrived = self._matching.arrived(batch)
        waiting = await self._who([key for one in arrived for key in one.keys])
        pairs: dict[Waiter, list[tuple[str, Arrived]]] = {}
        for one in arrived:
            for key in one.keys:
                for who in waiting.get(key, ()):
                    pairs.setdefault(who, []).append((key, one))
        await asyncio.gather(*(self._tell(who, offers) for who, offers in pairs.items()))

    async def _who(self, keys: Sequence[str]) -> dict[str, list[Waiter]]:
        """Who waits for these keys, once the queue is known to have them all."""
        wanted = list(dict.fromkeys(keys))
        while wanted:
            found = await self._patience(lambda: self._queue.awaiting(wanted))
            if found is not None:
                return found
            self._fault = "the queue may have lost who waits for what; waiting until history has been asked"
            await asyncio.sleep(LOOK_SECONDS)
        return {}

    async def _tell(self, who: Waiter, offers: Sequence[tuple[str, Arrived]]) -> None:
        async with self._room:
            for key, one in offers:
                if await self._offer(who, key, one):
                    return

    async def _offer(self, who: Waiter, key: str, one: Arrived) -> bool:
        try:
            return await self._patience(lambda: self._deliverer.deliver(who, key, one))
        except NervError as error:
            # Refused for good: its run's stream was deleted, say. The topic is read on.
            log.error("event.undeliverable", run=who.run, node=who.node, id=one.event["id"], error=str(error))
            return False


def _next_offsets(batch: Sequence[Received]) -> dict[tuple[str, int], int]:
    return {(record.topic(), record.partition()): record.offset() + 1 for record in batch}
