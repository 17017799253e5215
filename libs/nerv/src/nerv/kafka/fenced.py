# SPDX-License-Identifier: Apache-2.0
"""The one writer of a partition, fenced by Kafka (design: write path of the temporal store).

Kafka has no compare-and-append (KAFKA-2260). Two transactional ids made from the topic and partition alone take turns; a
new owner re-makes **both**, then commits a fence record through each. Once the second fence is read, no earlier owner
can write (re-making only one lost 21 versions in a fight of three owners, a fence on one alone 30).
"""

import asyncio
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Self, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as NativeProducer

from nerv.errors import Misconfigured, NervError, Refused, Retry, Unavailable
from nerv.kafka.faults import delivery_error, told
from nerv.kafka.hearing import keep_hearing
from nerv.kafka.measuring import Transactions
from nerv.kafka.records import Outgoing, Position
from nerv.kafka.settings import TRANSACTION_TIMEOUT_MS, KafkaSettings
from nerv.types import Description, Health

INIT_SECONDS = 15.0  # init_transactions waits for an earlier owner's open transaction to be aborted
COMMIT_SECONDS = 8.0  # below the transaction's own time-out, so that the verdict is ours
LINGER_MS = 5  # a commit flushes at once; until then records gather in one batch
# How long a record waits for a topic that Kafka does not know: below COMMIT_SECONDS, so that it is refused by name instead of
# being the unknown end of everybody's transaction. The default is 30 s.
UNKNOWN_TOPIC_MS = 3_000

MakeFence = Callable[[str, str], Outgoing]
Reply = Callable[[int], Sequence[Outgoing]]
Receipts = Callable[[Sequence[Position]], Sequence[Outgoing]]
R = TypeVar("R")


class CommitFailed(Unavailable):
    """The transaction did not surely commit. Nothing may be answered before a new take-over has read the log."""

    title = "Commit failed"
    retry = Retry.SAME_ID


class RecordsRefused(CommitFailed):
    """Kafka refused some records of a transaction, and so nothing of it was written. As after any failure the writer is void.

    `by_index` has their errors. Those that stood in one batch with a bad one are among them: each alone shows which it was.
    """

    title = "Records refused"
    by_index: Mapping[int, NervError] = MappingProxyType({})

    @classmethod
    def of(cls, by_index: Mapping[int, NervError]) -> Self:
        """The error for a transaction with these refusals, at least one."""
        error = cls(f"{len(by_index)} records are refused: {next(iter(by_index.values())).detail}")
        error.by_index = by_index
        return error


@dataclass(frozen=True, slots=True)
class TakeOver:
    """A take-over that has committed both fences; serve only after reading the partition up to `offset`."""

    token: str
    offset: int


class FencedWriter:
    """Writes one partition of one topic, exclusively, by transactions on two producers in turn.

    One call at a time. Any failure voids the writer: close it, check the assignment, make a new one, take over again.
    """

    def __init__(self, settings: KafkaSettings, topic: str, partition: int, client_id: str) -> None:
        self._settings = settings
        self._topic = topic
        self._partition = partition
        self._client_id = client_id
        self._producers: list[NativeProducer] = []
        self._turn = 0
        self._last_offset = -1
        self._take_overs = self._commits = self._records = 0
        self._transactions = Transactions(topic)
        # Commits block in native code, without the interpreter's lock; each partition waits in a thread of its own.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{topic}/{partition}")
        self._heard: Future[None] | None = None
        keep_hearing(self)

    async def take_over(self, fence: MakeFence) -> TakeOver:
        """Shut out every earlier owner; `fence(token, "a" or "b")` makes the two fence records. Raises CommitFailed."""
        token = uuid.uuid4().hex
        await self._run(self._shut_out)
        await self._run(self._commit, [fence(token, "a")])
        return TakeOver(token, await self._run(self._commit, [fence(token, "b")]))

    async def commit(self, records: Sequence[Outgoing], *, reply: Reply | None = None) -> int:
        """Commit `records` as one transaction; answers the offset of the last of them in this writer's partition.

        Those of the partition stand one after the other, for nobody else writes in between; -1 if there are none.
        `reply`, called with that offset in the writer's own thread, makes further records of the same transaction.
        Raises CommitFailed when all that is not surely committed.
        """
        return await self._run(self._commit, records, reply)

    async def place(self, records: Sequence[Outgoing], receipts: Receipts) -> list[Position]:
        """Commit `records`, of whatever topics, and what `receipts` makes of their places, as one transaction.

        Answers their places. `receipts` is called in the writer's own thread; what it makes proves that this writer owns its
        partition, and so it must make something. Raises CommitFailed, RecordsRefused among them when nothing was written.
        """
        return await self._run(self._place, records, receipts)

    async def close(self) -> None:
        """Let the producers go. A transaction that is open stays open until the next owner ends it."""
        dropped = self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)  # nothing comes after it
        await asyncio.shield(asyncio.wrap_future(dropped))

    def hear(self) -> None:
        """Serve what the producers have to say, in the writer's own thread; for any thread."""
        if self._heard is None or self._heard.done():
            with suppress(RuntimeError):  # it is closed
                self._heard = self._thread.submit(self._hear)

    def describe(self) -> Description:
        """The writer as data. It is down while it owns nothing."""
        return Description(
            "FencedWriter",
            f"{self._topic}/{self._partition}",
            outputs=(self._topic,),
            counters={"take_overs": self._take_overs, "commits": self._commits, "records": self._records},
            health=Health.OK if len(self._producers) == 2 else Health.DOWN,
        )

    async def _run(self, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _hear(self) -> None:
        for place in range(len(self._producers)):
            serve(self._producers[place])  # which no frame of ours holds: see `serve`

    def _drop(self) -> None:
        for producer in self._producers:
            producer.purge()
        self._producers = []

    def _shut_out(self) -> None:
        self._drop()
        for name in ("a", "b"):  # always both, in this order, also when only one has failed
            own = f"{self._topic}/{self._partition}/{name}"
            producer = NativeProducer(
                self._settings.producer(f"{self._client_id}-{name}")
                | {
                    "transactional.id": own,
                    "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                    "linger.ms": LINGER_MS,
                    "topic.metadata.propagation.max.ms": UNKNOWN_TOPIC_MS,
                }
            )
            self._producers.append(producer)
            _native(lambda p=producer: p.init_transactions(INIT_SECONDS), f"take over as {own}")  # type: ignore[misc]
        self._turn = 0
        self._take_overs += 1

    def _commit(self, records: Sequence[Outgoing], reply: Reply | None = None) -> int:
        self._last_offset = -1
        with self._transactions.one(len(records)):
            self._in_turn(lambda producer: self._transaction(producer, records, reply))
        self._commits += 1
        self._records += len(records)
        return self._last_offset

    def _place(self, records: Sequence[Outgoing], receipts: Receipts) -> list[Position]:
        placing = _Placing(len(records))
        with self._transactions.one(len(records)):
            self._in_turn(lambda producer: placing.transaction(producer, records, receipts))
        self._commits += 1
        self._records += len(records)
        return placing.places

    def _in_turn(self, work: Callable[[NativeProducer], None]) -> None:
        if len(self._producers) != 2:
            raise CommitFailed("this writer owns nothing; take over first")
        _native(lambda: work(self._producers[self._turn]), "commit")
        # The next transaction begins on the other producer: one begun on this one, before the markers of this
        # one are written, makes librdkafka wait 20 ms.
        self._turn ^= 1

    def _transaction(self, producer: NativeProducer, records: Sequence[Outgoing], reply: Reply | None) -> None:
        producer.begin_transaction()
        last = max((i for i, r in enumerate(records) if r.topic == self._topic), default=-1)
        for i, (topic, value, key, headers, partition) in enumerate(records):
            report = self._reported if i == last else None
            producer.produce(topic, value, key, partition, report, None, 0, list(headers))  # by name costs 0.2 µs
        if reply is not None:
            if last >= 0 and (producer.flush(COMMIT_SECONDS) or self._last_offset < 0):
                # A reply tells the offset of what was written: Kafka has to name it first. One more round trip.
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            for topic, value, key, headers, partition in reply(self._last_offset):
                producer.produce(topic, value, key, partition, None, None, 0, list(headers))
        producer.commit_transaction(COMMIT_SECONDS)

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        # Runs in this writer's thread, inside commit_transaction; a failed delivery fails the commit itself.
        if error is None:
            self._last_offset = message.offset()


class _Placing:
    """A transaction whose records are told where they stand before it is committed."""

    def __init__(self, size: int) -> None:
        self.places: list[Any] = [None] * size
        self.refused: dict[int, NervError] = {}
        self._unclear: KafkaError | None = None

    def transaction(self, producer: NativeProducer, records: Sequence[Outgoing], receipts: Receipts) -> None:
        """All of it. What records that are refused leave open is ended by the next take-over.

        It could be aborted here, but not be followed by another one: librdkafka 2.16.0 goes on with sequence numbers that the
        broker has not (OUT_OF_ORDER_SEQUENCE_NUMBER).
        """
        producer.begin_transaction()
        for index, record in enumerate(records):
            self._produce(producer, record, partial(self._reported, index))
        if records and producer.flush(COMMIT_SECONDS):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if self.refused:
            raise RecordsRefused.of(self.refused)
        if self._unclear is not None:
            raise KafkaException(self._unclear)
        for topic, value, key, headers, partition in receipts(self.places):
            producer.produce(topic, value, key, partition, None, None, 0, list(headers))
        producer.commit_transaction(COMMIT_SECONDS)

    def _produce(self, producer: NativeProducer, record: Outgoing, report: Callable[..., None]) -> None:
        topic, value, key, headers, partition = record
        try:
            producer.produce(topic, value, key, partition, report, None, 0, list(headers))
        except KafkaException as error:
            report(error.args[0], None)

    def _reported(self, index: int, error: KafkaError | None, message: Message | None) -> None:
        if error is None and message is not None:
            self.places[index] = Position(message.topic(), message.partition(), message.offset())
            return
        found = delivery_error(error or KafkaError(KafkaError._FAIL))
        if isinstance(found, Refused | Misconfigured):
            self.refused[index] = found
        else:
            self._unclear = error


def _native(call: Callable[[], None], what: str) -> None:
    try:
        call()
    except (KafkaException, BufferError, RuntimeError, SystemError) as error:
        # SystemError: what `flush` of confluent-kafka 2.16.1 makes of the delivery reports of a fenced producer.
        let_go(error)
        raise CommitFailed(f"could not {what}: {told(error)}", retry_after=1.0) from error


def serve(producer: NativeProducer) -> None:
    """Hear what a producer has to say that nobody uses just now. What ended it, its next use tells again.

    The caller's frame holds no producer either, should the traceback stay (`let_go`).
    """
    try:
        producer.poll(0)
    except (KafkaException, RuntimeError, SystemError) as error:
        let_go(error)
        del producer  # this frame stands in the traceback, too


def let_go(error: BaseException | None) -> None:
    """No frame of the failed call keeps its producer.

    confluent-kafka 2.16.1 loses count of an exception when a fenced producer's delivery reports meet it: its traceback is never
    freed, and a producer that stands in it would keep its threads and connections until the process ends.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
