# SPDX-License-Identifier: Apache-2.0
"""Consume in batches: one dedicated thread, one hop to the loop a batch, never more than a few batches ahead."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

import structlog
from confluent_kafka import Consumer, ConsumerGroupMetadata, KafkaError, KafkaException, TopicPartition

from nerv.kafka.faults import request_error
from nerv.kafka.records import Received
from nerv.kafka.settings import KafkaSettings

log = structlog.get_logger(__name__)

BATCH = 5000
WAIT_SECONDS = 0.05  # how long a batch that is not full waits for more
PATIENCE_SECONDS = 1.0  # how long the loop may be behind before partitions are paused (that drops what was fetched)
BUSY_SECONDS = 0.05  # how often the thread then serves the group
REVOKE_SECONDS = 30.0  # how long a revoke may wait for the batch in hand
AHEAD = 2  # batches that may wait for the loop

Partition = tuple[str, int]
Reset = Literal["earliest", "latest", "error"]
R = TypeVar("R")


class Rebalance(Protocol):
    """What a member of a group is told. Both run on the loop while the group waits."""

    async def assigned(self, partitions: set[Partition]) -> Mapping[Partition, int]:
        """Where to start, for the partitions whose position is not the group's committed one."""
        ...

    async def revoked(self, partitions: set[Partition], *, lost: bool) -> None:
        """Finish or abort what is in hand of these. `lost`: another has them already, so commit nothing."""
        ...


class BatchConsumer:
    """Batches of records to the loop, by a group (`topics`, `rebalance`) or by hand (`assign`). Use as `async with`.

    At least once: what is not committed comes again. The thread keeps serving the group while the loop is behind.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        client_id: str,
        group: str,
        *,
        topics: Iterable[str] = (),
        assign: Mapping[Partition, int] | None = None,
        rebalance: Rebalance | None = None,
        reset: Reset = "error",
        strategy: Literal["cooperative-sticky", "range"] = "cooperative-sticky",
        batch: int = BATCH,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self._consumer = Consumer(
            settings.consumer(client_id, group)
            | {
                "auto.offset.reset": reset,
                "partition.assignment.strategy": strategy,
                "enable.partition.eof": False,
                "queued.max.messages.kbytes": 65_536,
            }
        )
        self._topics = list(topics)
        self._assign = dict(assign or {})
        self._rebalance = rebalance
        self._cooperative = strategy == "cooperative-sticky"
        self._batch, self._wait = batch, wait
        self._ready: asyncio.Queue[list[Received] | BaseException] = asyncio.Queue()
        self._ahead = threading.Semaphore(AHEAD)
        self._commands: list[Callable[[], None]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{client_id}-consume", daemon=True)
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

    async def batches(self) -> AsyncIterator[list[Received]]:
        """Batches as they come; asking for the next one hands the last one back.

        Raises the error that ended the thread: Kafka refused, or there is no position to start from.
        """
        while True:
            item = await self._ready.get()
            if isinstance(item, BaseException):
                raise item
            try:
                yield item
            finally:
                self._ahead.release()

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the next offsets to read, and wait for Kafka. Raises Unavailable."""
        positions = [TopicPartition(t, p, o) for (t, p), o in offsets.items()]
        try:
            await asyncio.to_thread(self._consumer.commit, offsets=positions, asynchronous=False)
        except KafkaException as error:
            raise request_error(error) from error

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Go on reading from these offsets; batches read before may still come."""

        def run() -> None:
            for (topic, partition), offset in offsets.items():
                self._consumer.seek(TopicPartition(topic, partition, offset))

        self._commands.append(run)

    def group_metadata(self) -> ConsumerGroupMetadata:
        """The member's identity, by which a transaction's offsets are fenced."""
        return self._consumer.consumer_group_metadata()

    @staticmethod
    def foreign_group(group: str) -> ConsumerGroupMetadata:
        """The identity of a group that assigns nothing: whoever commits to it must be fenced otherwise."""
        return ConsumerGroupMetadata(group)

    async def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The group's committed offsets; partitions without one are left out. Raises Unavailable."""
        asked = [TopicPartition(t, p) for t, p in partitions]
        try:
            found = await asyncio.to_thread(self._consumer.committed, asked, 10.0)
        except KafkaException as error:
            raise request_error(error) from error
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """First offset and the one after the last that is committed. Raises Unavailable."""
        try:
            low, high = await asyncio.to_thread(self._consumer.get_watermark_offsets, TopicPartition(*partition), 10.0)
        except KafkaException as error:
            raise request_error(error) from error
        return low, high

    async def offsets_at(self, instant_ms: int, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The first offset at or after an instant (milliseconds, of the record's time stamp); the end where there is none."""
        asked = [TopicPartition(t, p, instant_ms) for t, p in partitions]
        try:
            found = await asyncio.to_thread(self._consumer.offsets_for_times, asked, 10.0)
        except KafkaException as error:
            raise request_error(error) from error
        result = {}
        for tp in found:
            offset = tp.offset
            result[tp.topic, tp.partition] = offset if offset >= 0 else (await self.bounds((tp.topic, tp.partition)))[1]
        return result

    def _run(self) -> None:
        try:
            self._start()
            while not self._stopping.is_set():
                self._step()
        except KafkaException as error:
            self._hand_over(request_error(error))
        except BaseException as error:
            self._hand_over(error)
        finally:
            self._close()

    def _start(self) -> None:
        if self._assign:
            self._consumer.assign([TopicPartition(t, p, o) for (t, p), o in self._assign.items()])
        elif self._topics:
            self._consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )

    def _step(self) -> None:
        self._obey()
        if not self._ahead.acquire(timeout=PATIENCE_SECONDS):
            self._serve_group_until_free()
            return
        records = self._consumer.consume(self._batch, self._wait)
        good = [record for record in records if record.error() is None]
        if len(good) < len(records):
            for record in records:
                if (error := record.error()) is not None:
                    self._judge(error)
        if good:
            self._hand_over(good)
        else:
            self._ahead.release()

    def _serve_group_until_free(self) -> None:
        # The loop is behind. Paused partitions give no records, so that polling only keeps the membership alive.
        self._pause()
        while not self._stopping.is_set() and not self._ahead.acquire(timeout=BUSY_SECONDS):
            record = self._consumer.poll(0)
            if record is not None and record.error() is None:  # of a partition that came by a rebalance just now
                self._consumer.seek(TopicPartition(record.topic(), record.partition(), record.offset()))
                self._pause()
            self._obey()
        self._ahead.release()
        if assigned := self._consumer.assignment():
            self._consumer.resume(assigned)

    def _pause(self) -> None:
        if assigned := self._consumer.assignment():
            self._consumer.pause(assigned)

    def _judge(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE) or error.fatal():
            raise KafkaException(error)
        log.warning("consume", error=error.str())

    def _obey(self) -> None:
        while self._commands:
            self._commands.pop(0)()

    def _hand_over(self, item: list[Received] | BaseException) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ready.put_nowait, item)

    def _close(self) -> None:
        try:
            self._consumer.close()
        except (KafkaException, RuntimeError) as error:
            log.warning("consume.close", error=str(error))

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        starts: Mapping[Partition, int] = {}
        if self._rebalance is not None and partitions:
            starts = self._wait_for(self._rebalance.assigned(_names(partitions)))
        for tp in partitions:
            if (tp.topic, tp.partition) in starts:
                tp.offset = starts[tp.topic, tp.partition]
        if self._cooperative:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._rebalance is not None and partitions:
            self._wait_for(self._rebalance.revoked(_names(partitions), lost=False))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._rebalance is not None and partitions:
            self._wait_for(self._rebalance.revoked(_names(partitions), lost=True))

    def _wait_for(self, call: Coroutine[Any, Any, R]) -> R:
        if self._loop is None:
            raise RuntimeError("started without a loop")
        future: Future[R] = asyncio.run_coroutine_threadsafe(call, self._loop)
        deadline = time.monotonic() + REVOKE_SECONDS
        while True:
            try:
                return future.result(0.1)
            except TimeoutError:
                # Only our own patience ends here; a service that is stopping must not wait for a loop that has ended.
                if time.monotonic() > deadline or self._loop.is_closed():
                    future.cancel()
                    raise


def _names(partitions: list[TopicPartition]) -> set[Partition]:
    return {(tp.topic, tp.partition) for tp in partitions}
