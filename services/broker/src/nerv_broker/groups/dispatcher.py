# SPDX-License-Identifier: Apache-2.0
"""The dispatcher of a group on this replica: a member of the Kafka group `<mesh>.broker.<name>`, which says who dispatches what.

It works in rounds. Whatever goes wrong ends the round: the partitions are given back, and taken anew by whoever gets them.
"""

import asyncio
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import structlog

from nerv.errors import NervError, Unavailable
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.subscriptions import Fact, Kind
from nerv.subscriptions.ledger import partition_text
from nerv_broker.groups.partition import PartitionWork, Tools
from nerv_broker.groups.spec import starts

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2  # s, doubled with each round that failed
LONGEST_PAUSE = 5.0
MOVED_SECONDS = 5.0  # between two positions in the books: what Redis loses in between comes again
LAST_SECONDS = 2.0  # for the last positions, when the service ends
BATCH = 500
FETCHED_KIB = 4096  # that librdkafka reads ahead: there may be many groups
AHEAD = 1000  # records of a partition that wait for room; beyond it the partition is paused

Partition = tuple[str, int]
Check = Callable[[], int]


class Dispatcher:
    """Use as `async with`."""

    def __init__(
        self, tools: Tools, topic: str, kafka: KafkaSettings, client_id: str, group: str, check: Check
    ) -> None:
        """`check` tells how many partitions the topic has, and raises when it is another one than the group's; it may block."""
        self._tools, self._topic, self._check = tools, topic, check
        self._kafka, self._client_id, self._group = kafka, client_id, group
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._round: _Round | None = None
        self._fault: str | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"group-{self._group}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    @property
    def owned(self) -> list[int]:
        """The partitions that this replica dispatches."""
        return sorted(self._round.work) if self._round else []

    def lags(self) -> dict[Partition, int]:
        """How many offsets are not settled, of each partition that this replica dispatches; as of the last seconds."""
        round_ = self._round  # asked on another thread, too
        return dict(round_.lags) if round_ else {}

    def delays(self) -> dict[Partition, float]:
        """How old the oldest event is that was read and is not settled, of each of them, in seconds."""
        round_ = self._round
        work = list(round_.work.items()) if round_ else []
        return {(self._topic, number): one.ages.seconds() for number, one in work}

    def fault(self) -> str | None:
        """Why the group does not go on here, or None."""
        works = self._round.work.values() if self._round else ()
        return self._fault or self._tools.books.fault or next((work.fault for work in works if work.fault), None)

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                await self._one_round()
            except NervError as error:
                self._fault = f"{error.title}: {error.detail}"
                log.warning("group.again", group=self._group, error=str(error))
            except Exception as error:  # one group that meets a fault of ours takes no other with it
                self._fault = f"a fault of ours, the log has it: {type(error).__name__}"
                log.exception("group.crashed", group=self._group)
            pause = FIRST_PAUSE if time.monotonic() - began > 2 * LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _one_round(self) -> None:
        partitions = await asyncio.to_thread(self._check)
        self._round = round_ = _Round(self._tools, self._topic, partitions, self._check)
        round_.consumer = BatchConsumer(
            self._kafka,
            self._client_id,
            self._group,
            topics=[self._topic],
            rebalance=round_,
            reset="earliest",  # of what is gone from the topic nobody can have more
            batch=BATCH,
            ends=True,
            fetched_kib=FETCHED_KIB,
        )
        try:
            async with round_.consumer:
                self._fault = None
                await round_.run(self._stopping)
        finally:
            self._round = None


class _Round:
    """One membership of the Kafka group. Implements `nerv.kafka.Rebalance`."""

    consumer: BatchConsumer

    def __init__(self, tools: Tools, topic: str, partitions: int, check: Check) -> None:
        self._tools, self._topic, self._partitions, self._check = tools, topic, partitions, check
        self.lags: dict[Partition, int] = {}
        self.work: dict[int, PartitionWork] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._paused: set[int] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told: dict[Partition, int] = {}

    async def assigned(self, partitions: set[Partition]) -> Mapping[Partition, int]:
        """Take them: in Redis first, so that who had them can change nothing any more, then in the books."""
        books = self._tools.books
        epoch, life = uuid.uuid4().hex, uuid.uuid4().hex
        begin = starts(books.ledger.spec or {"start": {}})
        found: dict[Partition, int] = {}
        for partition in sorted(partitions):
            number = partition[1]
            position = books.ledger.next.get(partition, begin.get(number, 0))
            fresh, found[partition] = await self._tools.group.take(number, epoch, position, life)
            log.info("group.taken", group=books.name, partition=number, next=found[partition], fresh=fresh)
        taken = {"epoch": epoch, "partitions": sorted(map(partition_text, partitions))}
        await books.record([Fact(Kind.TAKEN, taken)])
        for partition, start in found.items():
            self._start(PartitionWork(self._tools, self._topic, partition[1], epoch, start), partition)
        return found

    def _start(self, work: PartitionWork, partition: Partition) -> None:
        work.ends(lambda: self.consumer.ended.get(partition, 0))
        task = asyncio.create_task(work.run(), name=f"group-{self._tools.books.name}-{partition[1]}")
        self.work[partition[1]], self._tasks[partition[1]] = work, task
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    async def revoked(self, partitions: set[Partition], *, lost: bool) -> None:
        """Stop between any two steps: the next one goes on from what Redis and the books hold."""
        numbers = {number for _, number in partitions}
        await self._stop(numbers)

    async def _stop(self, numbers: set[int]) -> None:
        tasks = {self._tasks.pop(number) for number in numbers & self._tasks.keys()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for number in numbers:
            self.work.pop(number, None)
            self._paused.discard(number)

    async def run(self, stopping: asyncio.Event) -> None:
        """Until the service stops. Raises a NervError when the round cannot go on."""
        stop = asyncio.ensure_future(stopping.wait())
        tasks = [asyncio.create_task(self._feed()), asyncio.create_task(self._positions())]
        try:
            waited: set[asyncio.Future[Any]] = {*tasks, stop, self._failed}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if stopping.is_set():
                with suppress(TimeoutError, NervError):
                    await asyncio.wait_for(self._tell(), LAST_SECONDS)
                return
            for done in (self._failed, *tasks):
                if done.done():
                    done.result()
            raise Unavailable("the consumer has ended", retry_after=0.2)
        finally:
            self._failed.cancel()
            stop.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._stop(set(self._tasks))

    async def _feed(self) -> None:
        """What is read goes to the partitions' own work, never far ahead of it."""
        async for batch in self.consumer.batches():
            parts: dict[int, list[Received]] = defaultdict(list)
            for record in batch:
                parts[record.partition()].append(record)
            for number, records in parts.items():
                if number in self.work:
                    self.work[number].offer(records)
            await self._hold_back()

    async def _hold_back(self) -> None:
        full = {number for number, work in self.work.items() if work.waiting >= AHEAD} - self._paused
        if full:
            self._paused |= full
            await self.consumer.pause([(self._topic, number) for number in full])

    async def _positions(self) -> None:
        """Go on with partitions that have room again; tell the books and Kafka, now and then, how far the group has come."""
        due = time.monotonic() + MOVED_SECONDS
        while True:
            await asyncio.sleep(0.1)
            free = {number for number in self._paused if number in self.work and self.work[number].waiting < AHEAD // 2}
            if free:
                self._paused -= free
                await self.consumer.resume([(self._topic, number) for number in free])
            if time.monotonic() >= due:
                await self._look_at_topic()
                await self._tell()
                await self._measure()
                due = time.monotonic() + MOVED_SECONDS

    async def _look_at_topic(self) -> None:
        """A consumer may not notice that its topic was made anew, and passes over what is new; new partitions it notices late."""
        try:
            partitions = await asyncio.to_thread(self._check)
        except Unavailable:
            return
        if partitions > self._partitions:
            raise Unavailable(f"{self._topic} has {partitions} partitions now; they are shared out anew")

    async def _measure(self) -> None:
        floors = self._floors()
        try:
            ends = await self.consumer.known_ends(floors)
        except NervError:  # of a partition that goes just now
            return
        self.lags = {partition: max(ends[partition] - floors[partition], 0) for partition in ends}

    def _floors(self) -> dict[Partition, int]:
        return {(self._topic, n): work.floor for n, work in self.work.items() if work.floor is not None}

    async def _tell(self) -> None:
        books = self._tools.books
        floors = self._floors()
        if not floors or floors == self._told:
            return
        everywhere = {partition_text(partition): offset for partition, offset in (books.ledger.next | floors).items()}
        await books.record([Fact(Kind.MOVED, {"created": self._tools.created, "next": everywhere})])
        self._told = floors
        try:
            await self.consumer.commit(floors)
        except NervError as error:  # in a rebalance, for one; it is for those who look at Kafka, and said again soon
            log.info("group.commit", group=books.name, error=str(error))
