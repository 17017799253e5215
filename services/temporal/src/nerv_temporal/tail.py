# SPDX-License-Identifier: Apache-2.0
"""Every replica follows every partition of history into its own index, so that a take-over reads only the tail."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

import structlog

from nerv.errors import Unavailable
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.kafka.consumer import BATCH
from nerv.kafka.owning import Fence
from nerv_temporal.index import Index, PartitionState, Row
from nerv_temporal.records import Answered, Written, read

log = structlog.get_logger(__name__)

CATCH_UP_POLL = 0.02  # s
LEADER_SECONDS = 15.0  # for a partition of history to have a leader
LEADER_POLL = 0.2
CHUNK = 500  # records applied before the loop may do something else
REST_SECONDS = 0.2  # between two looks at a partition into which nobody but this replica writes
BEHIND_CHUNK = 2500  # while full batches come, so that what is written for each stream and chunk is written less often


class Tail:
    """Applies what is committed to the index, by itself from Kafka or as the owner has just committed it.

    Both ways lead through `advance`, which passes over what is covered. A partition whose records were all written here is
    not read back at once: it rests, and is looked at some times a second for another owner's fence. Use as `async with`;
    entering waits until the index has caught up with the end of every partition as it was then.
    """

    def __init__(self, settings: KafkaSettings, client_id: str, topic: str, partitions: int, index: Index) -> None:
        self._settings = settings
        self._client_id = client_id
        self._topic = topic
        self._count = partitions
        self.index = index
        self._moved: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self._closed: dict[int, int] = defaultdict(int)
        self._watchers: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._consumer: BatchConsumer | None = None
        self._resting: dict[int, asyncio.Event] = {}  # set to end the rest
        self.crashed: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self.crashed = self.crashed or asyncio.get_running_loop().create_future()
        await self._discard_what_is_ahead()
        self._task = asyncio.create_task(self._follow(), name="tail")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self.index.database.flush)  # the next start then reads only what comes from now on

    def crash(self, error: Exception) -> None:
        """Have the service end with this error: what it would answer from now on could be wrong."""
        if self.crashed is not None and not self.crashed.done():
            self.crashed.set_exception(error)

    async def catch_up(self) -> None:
        """Wait until the index covers the end of every partition as it is now, however long that takes."""
        for partition, (_, end) in (await self._bounds()).items():
            while not self._covers(partition, end):
                if self._task is None or self._task.done():
                    raise Unavailable("the tail of history has ended before the index had caught up")
                await asyncio.sleep(CATCH_UP_POLL)

    def _covers(self, partition: int, end: int) -> bool:
        # The log may end with transaction markers, which no consumer sees; then only the consumer's end tells.
        ended = self._consumer.ended.get((self._topic, partition), 0) if self._consumer is not None else 0
        return max(self.index.partition(partition).next_offset, ended) >= end

    @contextmanager
    def watched(self, partitions: Iterable[int]) -> Iterator[asyncio.Event]:
        """An event that is set whenever the index moves in one of these partitions."""
        moved, watched = asyncio.Event(), list(partitions)
        for partition in watched:
            self._watchers[partition].add(moved)
        try:
            yield moved
        finally:
            for partition in watched:
                self._watchers[partition].discard(moved)

    @property
    def records_read(self) -> int:
        """How many records Kafka has handed over, those that were known among them."""
        return 0 if self._consumer is None else self._consumer.describe().counters["records"]

    def complete_until(self, partition: int) -> int:
        """The instant (microseconds) by which all that was recorded is in the index, whatever comes.

        Recorded time grows with the offset, but the events of a tick share theirs, and those of another owner may come in
        parts.
        """
        return max(self._closed[partition], self.index.partition(partition).recorded_us - 1)

    async def reached(self, partition: int, offset: int, seconds: float) -> None:
        """Wait until the index covers `offset`. Raises Unavailable when time is up."""
        deadline = time.monotonic() + seconds
        while self.index.partition(partition).next_offset <= offset:
            if partition in self._resting:
                self._resting[partition].set()
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable(f"position {partition}:{offset} is not here yet", retry_after=1.0)
            event = self._moved[partition]
            event.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), left)

    def advance(self, partition: int, first_offset: int, records: Sequence[Written], next_offset: int) -> None:
        """Apply the records of a whole transaction, events last, from `first_offset` on; what is covered is passed over."""
        covered = self.index.partition(partition)
        if next_offset > covered.next_offset:
            self._apply(partition, covered, list(enumerate(records, first_offset)), next_offset)
        # The events of a transaction come last, and share their instant.
        if records and isinstance(records[-1], Row):
            self._close(partition, records[-1].recorded_us)

    def _close(self, partition: int, instant_us: int) -> None:
        self._closed[partition] = max(self._closed[partition], instant_us)

    def _apply(
        self, partition: int, covered: PartitionState, numbered: Sequence[tuple[int, Written]], next_offset: int
    ) -> None:
        rows: list[tuple[int, Row]] = []
        recorded, address, next_command = covered.recorded_us, covered.address, covered.next_command
        for offset, record in numbered:
            if offset < covered.next_offset:
                continue
            if isinstance(record, Row):
                rows.append((offset, record))
                recorded = max(recorded, record.recorded_us)
            elif isinstance(record, Fence):
                address = record.address
                self._close(partition, recorded)  # transactions do not overlap: all that stands before a fence is whole
            elif isinstance(record, Answered):
                next_command = record.next_command
            else:
                recorded = max(recorded, record.known_at_us)
                self._close(partition, record.known_at_us)
        state = PartitionState(next_offset, recorded, address, next_command)
        self.index.write(partition, rows, state)
        self._moved[partition].set()
        for watcher in self._watchers[partition]:
            watcher.set()

    async def _bounds(self) -> dict[int, tuple[int, int]]:
        # A topic that was made a moment ago, or moves, has no leader for a while.
        deadline = time.monotonic() + LEADER_SECONDS
        while True:
            try:
                return await self._bounds_now()
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(LEADER_POLL)

    async def _bounds_now(self) -> dict[int, tuple[int, int]]:
        async with BatchConsumer(self._settings, f"{self._client_id}-bounds", f"{self._client_id}-bounds") as consumer:
            return {p: await consumer.bounds((self._topic, p)) for p in range(self._count)}

    async def _discard_what_is_ahead(self) -> None:
        for partition, (low, end) in (await self._bounds()).items():
            covered = self.index.partition(partition).next_offset
            if covered > end or (covered < low and low > 0):
                self.index.rebuild(f"it covers {partition}:{covered}, and the log has {low} to {end}")
                return

    async def _follow(self) -> None:
        start = {(self._topic, p): self.index.partition(p).next_offset for p in range(self._count)}
        rests: dict[int, asyncio.Task[None]] = {}
        try:
            # No group assigns these partitions and none of its offsets are used: the index knows where to start.
            async with BatchConsumer(
                self._settings, f"{self._client_id}-tail", f"{self._client_id}-tail", assign=start, ends=True
            ) as consumer:
                self._consumer = consumer
                try:
                    async for batch in consumer.batches():
                        for partition in await self._take(batch):
                            if partition not in self._resting:
                                self._resting[partition] = asyncio.Event()
                                rests[partition] = asyncio.create_task(self._rest(consumer, partition))
                finally:  # before the consumer ends, which they would take for a fault
                    for rest in rests.values():
                        rest.cancel()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("tail.failed")
            self.crash(error)

    async def _rest(self, consumer: BatchConsumer, partition: int) -> None:
        # Reading our own commits back costs Kafka a fetch for each, and us a seventh of an append.
        at = (self._topic, partition)
        try:
            await consumer.pause([at])
            with suppress(TimeoutError):
                async with asyncio.timeout(REST_SECONDS):
                    await self._resting[partition].wait()
            await consumer.resume([at])
            # In the other order the next fetch comes only a second later (librdkafka 2.16.0).
            await consumer.seek({at: self.index.partition(partition).next_offset})
        except Exception as error:
            self.crash(error)  # it would rest for ever
        del self._resting[partition]

    async def _take(self, batch: Sequence[Received]) -> list[int]:
        """Apply them; answers the partitions of which all was known."""
        by_partition: dict[int, list[Received]] = defaultdict(list)
        for record in batch:
            by_partition[record.partition()].append(record)
        chunk = BEHIND_CHUNK if len(batch) == BATCH else CHUNK
        known: list[int] = []
        for partition, records in by_partition.items():
            if records[-1].offset() < self.index.partition(partition).next_offset:
                known.append(partition)
                continue
            for start in range(0, len(records), chunk):
                self._take_chunk(partition, records[start : start + chunk])
                await asyncio.sleep(0)
        return known

    def _take_chunk(self, partition: int, records: Sequence[Received]) -> None:
        covered = self.index.partition(partition)
        last = records[-1].offset()
        if last < covered.next_offset:
            return
        numbered = [(r.offset(), read(r)) for r in records if r.offset() >= covered.next_offset]
        self._apply(partition, covered, numbered, last + 1)
