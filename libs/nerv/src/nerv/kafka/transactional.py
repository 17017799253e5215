# SPDX-License-Identifier: Apache-2.0
"""Consume, produce and commit in one transaction: what was made of a batch stands if, and only if, the batch is done."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import Producer as NativeProducer

from nerv.kafka.consumer import BatchConsumer
from nerv.kafka.faults import told
from nerv.kafka.fenced import COMMIT_SECONDS, INIT_SECONDS, CommitFailed, let_go, serve
from nerv.kafka.hearing import keep_hearing
from nerv.kafka.measuring import Transactions
from nerv.kafka.records import Outgoing, Position
from nerv.kafka.settings import TRANSACTION_TIMEOUT_MS, KafkaSettings
from nerv.types import Description, Health

LINGER_MS = 5  # a commit flushes at once; until then records gather in batches

R = TypeVar("R")
NextOffsets = Mapping[tuple[str, int], int]


class TransactionalProducer:
    """One transactional producer. After any failure it is void: make a new one (never reuse one after a time-out).

    With `consumer`, offsets are fenced by the group's generation (KIP-447); without one, by the transactional id alone.
    """

    def __init__(
        self, settings: KafkaSettings, transactional_id: str, client_id: str, *, destination: str | None = None
    ) -> None:
        """`destination` is the topic or group under which its transactions are measured; without one they are not told apart."""
        self._native = NativeProducer(
            settings.producer(client_id)
            | {
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "linger.ms": LINGER_MS,
            }
        )
        self.name = transactional_id
        self._settings = settings
        self._client_id = client_id
        self._commits = self._records = 0
        self._written = 0  # in the transaction that is open
        self._transactions = Transactions(destination or "")
        self._void = self._open = False
        self._groups: dict[str, Consumer] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=transactional_id)
        self._heard: Future[None] | None = None
        keep_hearing(self)

    async def start(self) -> None:
        """Shut out an earlier producer of the same id and end its transaction. Raises CommitFailed."""
        await self._run(self._native.init_transactions, INIT_SECONDS)

    async def write(self, records: Sequence[Outgoing]) -> list[Position]:
        """Begin a transaction with `records` and say where each stands, should it be committed: `commit` ends it.

        Raises CommitFailed.
        """
        return await self._run(self._write, records)

    async def commit(
        self,
        records: Sequence[Outgoing],
        offsets: NextOffsets,
        consumer: BatchConsumer | None = None,
        group: str = "",
        notes: Mapping[tuple[str, int], str] | None = None,
    ) -> None:
        """Write `records` and move the group to `offsets` (the next offset to read of each topic and partition), both or
        neither. Name the group by its `consumer`, or by `group` where partitions are not assigned by that group.

        `notes` are kept beside the offsets (`BatchConsumer.notes`) until the next commit; Kafka takes 4,096 bytes of each.
        Raises CommitFailed: then nobody knows, and the group's committed offsets tell.
        """
        await self._run(self._commit, records, offsets, consumer, group, notes or {})

    async def close(self) -> None:
        """Let the producer go; an open transaction is ended by the next owner of its id."""
        dropped = self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)  # nothing comes after it
        await asyncio.shield(asyncio.wrap_future(dropped))

    def hear(self) -> None:
        """Serve what the clients have to say, in the producer's own thread; for any thread."""
        if self._heard is None or self._heard.done():
            with suppress(RuntimeError):  # it is closed
                self._heard = self._thread.submit(self._hear)

    def describe(self) -> Description:
        """The producer as data. It is down once it is void."""
        counters = {"commits": self._commits, "records": self._records}
        health = Health.DOWN if self._void else Health.OK
        return Description("TransactionalProducer", self.name, counters=counters, health=health)

    def _hear(self) -> None:
        serve(self._native)
        for consumer in self._groups.values():
            consumer.poll(0)

    def _drop(self) -> None:
        # Not its own `close`, which would wait for Kafka to end an open transaction, for ever if need be.
        self._native.purge()
        del self._native
        for consumer in self._groups.values():
            consumer.close()

    def _write(self, records: Sequence[Outgoing]) -> list[Position]:
        native = self._native
        native.begin_transaction()
        self._open = True
        places: dict[int, Position] = {}
        for number, (topic, value, key, headers, partition) in enumerate(records):
            native.produce(topic, value, key, partition, _into(places, number), None, 0, list(headers))
        if native.flush(COMMIT_SECONDS) or len(places) < len(records):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        self._records += len(records)
        self._written += len(records)
        return [places[number] for number in range(len(records))]

    def _commit(
        self,
        records: Sequence[Outgoing],
        offsets: NextOffsets,
        consumer: BatchConsumer | None,
        group: str,
        notes: Mapping[tuple[str, int], str],
    ) -> None:
        native = self._native
        with self._transactions.one(self._written + len(records)):
            if not self._open:
                native.begin_transaction()
            self._open = False
            for topic, value, key, headers, partition in records:
                native.produce(topic, value, key, partition, None, None, 0, list(headers))  # by name costs 0.2 µs
            if offsets:
                metadata = consumer.group_metadata() if consumer else self._foreign(group)
                positions = [TopicPartition(*p, offset, notes.get(p, "")) for p, offset in offsets.items()]
                native.send_offsets_to_transaction(positions, metadata, COMMIT_SECONDS)
            native.commit_transaction(COMMIT_SECONDS)
        self._commits += 1
        self._records += len(records)
        self._written = 0

    def _foreign(self, group: str) -> object:
        """The identity of a group that assigns nothing. confluent-kafka makes one only from a consumer, which stays idle."""
        if group not in self._groups:
            self._groups[group] = Consumer(self._settings.consumer(self._client_id, group))
        return self._groups[group].consumer_group_metadata()

    async def _run(self, function: Callable[..., R], *args: object) -> R:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, function, *args)
        except (KafkaException, BufferError, RuntimeError, SystemError) as error:  # as of a fenced writer
            self._void = True
            let_go(error)
            raise CommitFailed(
                f"the transaction of {self.name} did not surely commit: {told(error)}", retry_after=1.0
            ) from error


def _into(places: dict[int, Position], number: int) -> Callable[[KafkaError | None, Message], None]:
    def report(error: KafkaError | None, message: Message) -> None:
        if error is None:
            places[number] = Position(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))

    return report
