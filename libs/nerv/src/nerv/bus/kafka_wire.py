# SPDX-License-Identifier: Apache-2.0
"""A Kafka topic as a wire: CloudEvents in binary mode, read by a consumer group."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from nerv.cancelling import end
from nerv.cloudevents import from_record, to_headers
from nerv.errors import Misconfigured, NervError, Refused
from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, Producer
from nerv.kafka.admin import Admin
from nerv.kafka.deadletters import dead_letter, where
from nerv.kafka.records import Received
from nerv.protocols.wire import Arrived, Place
from nerv.types import Description, Event

LOOK_SECONDS = 0.5  # how often it looks whether a partition ends with marks


class KafkaWire:
    """One topic. A batch is committed when the next one is asked for; a new group begins at the topic's start.

    `deadletters` is the topic for what cannot be read or is refused: needed for reading.
    """

    def __init__(
        self,
        topic: str,
        *,
        producer: Producer,
        settings: KafkaSettings,
        group: str = "",
        deadletters: str = "",
        client_id: str = "bridge",
    ) -> None:
        self.topic = topic
        self.name = f"topic:{topic}"
        self._consumer: BatchConsumer | None = None
        self._partitions = 0
        self._done: dict[tuple[str, int], int] = {}
        self._producer = producer
        self._settings = settings
        self._counters: Counter[str] = Counter()
        self._group, self._deadletters, self._client_id = group, deadletters, client_id

    async def put(self, events: Sequence[Event[bytes]], places: Sequence[Place] | None = None) -> None:
        """Keyed by partition key, else by subject; returns once all replicas have them. A topic remembers no places."""
        records = [Outgoing(self.topic, event.data, _key(event), to_headers(event)) for event in events]
        await self._producer.publish_all(records)
        self._counters["put"] += len(records)

    async def take(self) -> AsyncIterator[Sequence[Arrived]]:
        """Batches of at most 5,000 records."""
        if not self._group or not self._deadletters:
            raise Misconfigured(f"to read {self.topic} the wire needs group= and deadletters=")
        # A topic that is made anew begins at offset 0 again: by its id that is another source.
        state = await asyncio.to_thread(Admin(self._settings, self._client_id).state_of, self.topic)
        consumer = BatchConsumer(
            self._settings, self._client_id, self._group, topics=[self.topic], reset="earliest", ends=True
        )
        async with consumer:
            self._consumer, self._partitions, self._done = consumer, state.partitions, {}
            passing = asyncio.create_task(self._pass_marks(consumer))
            try:
                async for records in consumer.batches():
                    self._counters["taken"] += len(records)
                    yield [arrived for record in records if (arrived := await self._read(record, state.id)) is not None]
                    await self._commit(consumer, {(r.topic(), r.partition()): r.offset() + 1 for r in records})
            finally:
                await end(passing)

    async def _commit(self, consumer: BatchConsumer, offsets: dict[tuple[str, int], int]) -> None:
        self._done |= offsets  # before it is asked for: what is asked for after it must not be less
        await consumer.commit(offsets)

    async def _pass_marks(self, consumer: BatchConsumer) -> None:
        """Commit what ends a partition and is no event: marks of transactions, for which nobody waits."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            # The end of a partition is told once the records before it have been committed.
            ends = {p: offset for p, offset in consumer.ended.items() if self._done.get(p, -1) < offset}
            if ends:
                with suppress(NervError):  # the next event commits more
                    await self._commit(consumer, ends)

    async def refuse(self, arrived: Arrived, cause: str) -> None:
        """To the topic of dead letters."""
        self._counters["refused"] += 1
        await self._producer.publish_all([dead_letter(self._deadletters, arrived.origin, cause, self._client_id)])

    async def lag(self) -> int:
        """How far the group is behind the ends of the topic; 0 while nobody here reads."""
        consumer = self._consumer
        if consumer is None:
            return 0
        everything = [(self.topic, partition) for partition in range(self._partitions)]
        bounds = [await consumer.bounds(partition) for partition in everything]
        committed = await consumer.committed(everything)
        return sum(high - committed.get(p, low) for p, (low, high) in zip(everything, bounds, strict=True))

    def describe(self) -> Description:
        """The wire as data."""
        return Description("KafkaWire", self.topic, (self.topic,), (self.topic,), dict(self._counters))

    async def _read(self, record: Received, topic_id: str) -> Arrived | None:
        _, stamp = record.timestamp()
        try:
            event = from_record(record.headers(), record.value(), origin=where(record), timestamp_ms=stamp)
        except Refused as error:
            self._counters["refused"] += 1
            await self._producer.publish_all([dead_letter(self._deadletters, record, str(error), self._client_id)])
            return None
        return Arrived(event, record, Place(f"{topic_id}/{record.partition()}", record.offset()))


def _key(event: Event[bytes]) -> bytes | None:
    key = event.partition_key or event.subject
    return key.encode() if key else None
