# SPDX-License-Identifier: Apache-2.0
"""Consume in batches: one dedicated thread, one hop to the loop a batch, never more than a few batches ahead.

confluent-kafka lets one thread at a time into a consumer, and a thread that polls in a loop starves the others for ever
(seen with 2.16.1). So everything that is asked of the consumer is done by its own thread, between two batches.
"""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from nerv.errors import Unavailable
from nerv.kafka.faults import DENIED, request_error
from nerv.kafka.leaving import leave
from nerv.kafka.records import Received
from nerv.kafka.settings import KafkaSettings
from nerv.types import Description, Health

log = structlog.get_logger(__name__)

BATCH = 5000
WAIT_SECONDS = 0.05  # how long a batch that is not full waits for more
PATIENCE_SECONDS = 1.0  # how long the loop may be behind before partitions are paused (that drops what was fetched)
BUSY_SECONDS = 0.05  # how often the thread then serves the group
REBALANCE_SECONDS = 30.0  # how long a rebalance may wait for the loop: to end what is in hand, or to say where to start
REQUEST_SECONDS = 10.0
ASK_AGAIN_SECONDS = 0.1
ANSWER_SECONDS = 0.005  # how often a thread that waits for the loop looks for what the loop asks of it
FULL_MS = 10  # until more is fetched after enough was waiting; within the default, a second, a quick reader runs dry
AHEAD = 2  # batches that may wait for the loop

Partition = tuple[str, int]
Reset = Literal["earliest", "latest", "error"]
R = TypeVar("R")


class _End(NamedTuple):
    partition: Partition
    offset: int


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
        eager: bool = False,
        linger: float = 0.0,
        ends: bool = False,
        fetched_kib: int = 65_536,
    ) -> None:
        """`ends` keeps `ended` up to date: how far each partition had been read when it had no more. `eager` hands over
        what is there as soon as something is, where an answer is waited for, or `linger` seconds later; batches are smaller
        then. `fetched_kib` bounds what waits in memory to be read.
        """
        self._consumer = Consumer(
            settings.consumer(client_id, group)
            | {
                "auto.offset.reset": reset,
                "partition.assignment.strategy": strategy,
                "enable.partition.eof": ends,
                "queued.max.messages.kbytes": fetched_kib,
                "fetch.queue.backoff.ms": FULL_MS,
            }
        )
        self.name = client_id
        self._records = self._batches = 0  # counted by the thread alone
        self._full = False  # whether the last batch was; set by the thread alone
        self._taken = 0  # batches; counted by the loop alone
        self._topics = list(topics)
        self._assign = dict(assign or {})
        self._rebalance = rebalance
        self._cooperative = strategy == "cooperative-sticky"
        self._batch, self._wait, self._eager, self._linger = batch, wait, eager, linger
        self.ended: dict[Partition, int] = {}
        self._ready: asyncio.Queue[list[Received] | BaseException | _End] = asyncio.Queue()
        self._ahead = threading.Semaphore(AHEAD)
        self._held: set[Partition] = set()
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        self._group_metadata: object = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
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
            item = await self._next()
            if isinstance(item, _End):
                continue
            try:
                yield item
            finally:
                self._ahead.release()

    async def batches_to(self, until: Mapping[Partition, int]) -> AsyncIterator[list[Received]]:
        """Batches until each of these partitions has been read up to its offset; records behind it may come along.

        Needs `ends`: the last offsets may be markers of transactions, which no consumer sees. Raises as `batches` does.
        """
        # An end is told once: it may have come while another partition was waited for, before this offset was asked for.
        left = {partition: end for partition, end in until.items() if self.ended.get(partition, -1) < end}
        while left:
            item = await self._next()
            if isinstance(item, _End):
                if item.offset >= left.get(item.partition, item.offset + 1):
                    del left[item.partition]
                continue
            try:
                yield item
            finally:
                self._ahead.release()
            for record in item:
                partition = (record.topic(), record.partition())
                if partition in left and record.offset() + 1 >= left[partition]:
                    del left[partition]

    async def _next(self) -> "list[Received] | _End":
        item = await self._ready.get()
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, _End):
            self.ended[item.partition] = item.offset
        else:
            self._taken += 1
        return item

    @property
    def behind(self) -> bool:
        """Whether more waits: a batch for the loop, or records for the thread, since the last batch that it read was full."""
        return self._full or self._batches > self._taken

    async def pause(self, partitions: Iterable[Partition]) -> None:
        """No more records of these until `resume`; batches read before may still come."""
        found = list(partitions)
        await self._ask(lambda: self._hold(found))

    async def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on with them, where they were paused."""
        found = list(partitions)
        await self._ask(lambda: self._release(found))

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the next offsets to read, and wait for Kafka. Raises Unavailable."""
        positions = [TopicPartition(t, p, o) for (t, p), o in offsets.items()]
        await self._ask(lambda: self._consumer.commit(offsets=positions, asynchronous=False))

    async def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Go on reading from these offsets; batches read before may still come."""
        for (topic, partition), offset in offsets.items():
            position = TopicPartition(topic, partition, offset)
            await self._ask(lambda position=position: self._consumer.seek(position))  # type: ignore[misc]
            self.ended.pop((topic, partition), None)

    def group_metadata(self) -> object:
        """The member's identity when it last polled, by which a transaction's offsets are fenced.

        After a rebalance that we have not yet seen the transaction is refused, and that is what it is for.
        """
        return self._group_metadata

    async def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The group's committed offsets; partitions without one are left out. Raises Unavailable."""
        asked = [TopicPartition(t, p) for t, p in partitions]
        found = await self._ask(lambda: self._consumer.committed(asked, REQUEST_SECONDS))
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    async def notes(self, partitions: Iterable[Partition]) -> dict[Partition, str]:
        """What was committed beside the group's offsets; partitions without a note are left out. Raises Unavailable."""
        asked = [TopicPartition(t, p) for t, p in partitions]
        found = await self._ask(lambda: self._consumer.committed(asked, REQUEST_SECONDS))
        return {(tp.topic, tp.partition): tp.metadata for tp in found if tp.metadata}

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """First offset and the one after the last that is committed. Raises Unavailable.

        Asked again for some seconds: the leader of a new topic may not know yet that it is.
        """
        deadline = time.monotonic() + REQUEST_SECONDS
        while True:
            try:
                low, high = await self._ask(
                    lambda: self._consumer.get_watermark_offsets(TopicPartition(*partition), REQUEST_SECONDS)
                )
            except Unavailable:
                if self._ended.is_set() or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(ASK_AGAIN_SECONDS)
            else:
                return low, high

    async def known_ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Where these partitions end as the last fetch of each told; Kafka is not asked. Those not fetched yet are left out,
        and those that are another's by now.
        """
        asked = set(partitions)
        found = await self._ask(
            lambda: [
                (tp, self._consumer.get_watermark_offsets(tp, cached=True))
                for tp in self._consumer.assignment()
                if (tp.topic, tp.partition) in asked
            ]
        )
        return {(tp.topic, tp.partition): bounds[1] for tp, bounds in found if bounds and bounds[1] >= 0}

    def describe(self) -> Description:
        """The consumer as data. It is down once its thread has ended."""
        return Description(
            "BatchConsumer",
            self.name,
            inputs=tuple(self._topics) or tuple(sorted({topic for topic, _ in self._assign})),
            counters={"records": self._records, "batches": self._batches},
            health=Health.DOWN if self._ended.is_set() else Health.OK,
        )

    async def _ask(self, call: Callable[[], Any]) -> Any:
        """Have the consumer's thread do something, between two batches or in a rebalance."""
        asked = _Asked(call, Future())
        self._asked.put(asked)
        if self._ended.is_set():
            self._refuse_asked()
        return await asyncio.wrap_future(asked.answer)

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
            leave(self._consumer)
            self._ended.set()
            self._refuse_asked()

    def _start(self) -> None:
        if self._assign:
            self._consumer.assign([TopicPartition(t, p, o) for (t, p), o in self._assign.items()])
        elif self._topics:
            self._consumer.subscribe(
                self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        self._group_metadata = self._consumer.consumer_group_metadata()

    def _step(self) -> None:
        if not (self._assign or self._topics):
            self._wait_to_be_asked()
            return
        self._answer_asked()
        if not self._ahead.acquire(timeout=PATIENCE_SECONDS):
            self._serve_group_until_free()
            return
        records = self._consumer.consume(1 if self._eager else self._batch, self._wait)
        if self._eager and records:
            records += self._consumer.consume(self._batch - 1, self._linger)
        good = [record for record in records if record.error() is None]
        if self._topics:
            self._group_metadata = self._consumer.consumer_group_metadata()
        if good:
            self._records += len(good)
            self._full = len(records) >= self._batch
            self._batches += 1
            self._hand_over(good)
        else:
            self._ahead.release()
        if len(good) < len(records):
            for record in records:
                if (error := record.error()) is not None:
                    self._judge(error, record)

    def _wait_to_be_asked(self) -> None:
        # Who reads nothing is only asked things, and need not wait for records before it answers.
        if (asked := self._next_asked(self._wait)) is not None:
            asked.run()
        # Errors of connections gather until they are taken.
        if (event := self._consumer.poll(0)) is not None and (error := event.error()) is not None:
            self._judge(error, event)

    def _serve_group_until_free(self) -> None:
        # The loop is behind. Paused partitions give no records, so that polling only keeps the membership alive.
        self._pause()
        while not self._stopping.is_set() and not self._ahead.acquire(timeout=BUSY_SECONDS):
            record = self._consumer.poll(0)
            if record is not None and record.error() is None:  # of a partition that came by a rebalance just now
                self._consumer.seek(TopicPartition(record.topic(), record.partition(), record.offset()))
                self._pause()
            self._answer_asked()
        self._ahead.release()
        if free := [tp for tp in self._consumer.assignment() if (tp.topic, tp.partition) not in self._held]:
            self._consumer.resume(free)

    def _hold(self, partitions: list[Partition]) -> None:
        self._held.update(partitions)
        self._consumer.pause([TopicPartition(*partition) for partition in partitions])

    def _release(self, partitions: list[Partition]) -> None:
        self._held.difference_update(partitions)
        assigned = _names(self._consumer.assignment())
        self._consumer.resume([TopicPartition(*partition) for partition in partitions if partition in assigned])

    def _pause(self) -> None:
        if assigned := self._consumer.assignment():
            self._consumer.pause(assigned)

    def _judge(self, error: KafkaError, record: Received) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            # Handed over after the records before it, so that whoever sees it has seen them.
            self._hand_over(_End((record.topic(), record.partition()), record.offset()))
            return
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, *DENIED) or error.fatal():
            raise KafkaException(error)
        log.warning("consume", error=error.str())

    def _answer_asked(self) -> None:
        while (asked := self._next_asked()) is not None:
            asked.run()

    def _refuse_asked(self) -> None:
        while (asked := self._next_asked()) is not None:
            if asked.answer.set_running_or_notify_cancel():  # who asked may have gone away
                asked.answer.set_exception(Unavailable("the consumer has ended"))

    def _next_asked(self, seconds: float = 0.0) -> "_Asked | None":
        try:
            return self._asked.get(seconds > 0, seconds or None)
        except queue.Empty:
            return None

    def _hand_over(self, item: list[Received] | BaseException | _End) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ready.put_nowait, item)

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
        self._held -= _names(partitions)
        if self._rebalance is not None and partitions:
            self._wait_for(self._rebalance.revoked(_names(partitions), lost=False))

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._held -= _names(partitions)
        if self._rebalance is not None and partitions:
            self._wait_for(self._rebalance.revoked(_names(partitions), lost=True))

    def _wait_for(self, call: Coroutine[Any, Any, R]) -> R:
        if self._loop is None:
            raise RuntimeError("started without a loop")
        future: Future[R] = asyncio.run_coroutine_threadsafe(call, self._loop)
        deadline = time.monotonic() + REBALANCE_SECONDS
        while not future.done():
            # Who is told of a rebalance may ask the consumer something, and this thread alone can answer.
            if (asked := self._next_asked(ANSWER_SECONDS)) is not None:
                asked.run()
            # Only our own patience ends here; a service that is stopping must not wait for a loop that has ended.
            if time.monotonic() > deadline or self._loop.is_closed():
                future.cancel()
                raise Unavailable(
                    f"a rebalance of {self.name} took more than {REBALANCE_SECONDS:g} s; join again", retry_after=1.0
                )
        return future.result()


class _Asked(NamedTuple):
    """What the loop asks of the consumer's thread."""

    call: Callable[[], Any]
    answer: "Future[Any]"

    def run(self) -> None:
        if not self.answer.set_running_or_notify_cancel():
            return
        try:
            self.answer.set_result(self.call())
        except KafkaException as error:
            self.answer.set_exception(request_error(error))
        except Exception as error:
            self.answer.set_exception(error)


def _names(partitions: list[TopicPartition]) -> set[Partition]:
    return {(tp.topic, tp.partition) for tp in partitions}
