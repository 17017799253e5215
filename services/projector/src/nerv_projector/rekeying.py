# SPDX-License-Identifier: Apache-2.0
"""Rekey history or topics for a projection whose key is not the stream's: each event to each of its keys, in transactions."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog

from nerv.errors import NervError
from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, Received, TransactionalProducer
from nerv.projections import Projection
from nerv.protocols.views import Epoch
from nerv.telemetry import Carrier, by_topic, process_spans, processed
from nerv.telemetry import names as n
from nerv.telemetry.traffic import saw
from nerv_projector.deadletters import Letter, Letters
from nerv_projector.lanes import Partition, Session
from nerv_projector.model import describe, origin_position, versioned
from nerv_projector.records import Sourced, rekeyed, with_context
from nerv_projector.sources import Sources, key_of

log = structlog.get_logger(__name__)

TRANSACTION_RECORDS = 10_000  # records written in one transaction, but for the keys of its last event


class RekeyHop:
    """Reads the sources of a projection, writes `<mesh>.rekeyed.<projection>.v1`.

    Each number of a partition has one producer, fenced by a transactional id made of the projection and the number alone;
    it rekeys that partition of history, and of each topic those whose remainder by `partitions` is the number. Records and the
    group's offsets are committed together. So every event of an epoch is rekeyed exactly once, as long as Kafka keeps the group's
    offsets; should it lose them, the folder drops the doubles by their origin.
    """

    def __init__(
        self, projection: Projection[Any], kafka: KafkaSettings, client_id: str, letters: Letters, *,
        sources: Sources, target: str, group: str, partitions: int, version: int = 1,
    ) -> None:  # fmt: skip
        self.projection, self.letters = projection, letters
        self.sources, self.target = sources, target
        self._kafka, self._client_id, self._group = kafka, client_id, group
        self._partitions, self._version = partitions, version

    @property
    def name(self) -> str:
        """`rekey-airports`, and `rekey-airports.2` of its second version: each has fences of its own."""
        return versioned(f"rekey-{self.projection.name}", self._version)

    def group(self, epoch: Epoch) -> str:
        """The group whose offsets say how far an epoch is rekeyed."""
        return f"{self._group}.rekey.{self.projection.name}.{epoch.token}"

    @property
    def measured(self) -> str:
        """The group as metrics name it: not for each epoch anew."""
        return f"{self._group}.rekey.{self.projection.name}"

    def owner(self, partition: Partition) -> int:
        """Which number rekeys a partition of a source."""
        return partition[1] % self._partitions

    async def open(self, epoch: Epoch, partitions: frozenset[int]) -> tuple[Session, Mapping[Partition, int]]:
        """Shut out earlier owners of these partitions, then take up where they have committed."""
        async with AsyncExitStack() as stack:
            producers = {p: self._producer(p) for p in partitions}
            for producer in producers.values():
                stack.push_async_callback(producer.close)
            await asyncio.gather(*(producer.start() for producer in producers.values()))
            # Only now: the transaction of an earlier owner has ended, and no other can commit.
            starts = await self._starts(epoch, partitions)
            session = RekeySession(self, epoch, producers, starts, stack.pop_all())
        return session, starts

    def _producer(self, number: int) -> TransactionalProducer:
        name = f"{self._group}.{self.name}/{number}"
        return TransactionalProducer(
            self._kafka, name, f"{self._client_id}-{self.name}-{number}", destination=self.target
        )

    async def _starts(self, epoch: Epoch, partitions: frozenset[int]) -> dict[Partition, int]:
        wanted = {self.sources.place(number): first for number, first in epoch.first.items()}
        wanted = {partition: first for partition, first in wanted.items() if self.owner(partition) in partitions}
        async with BatchConsumer(self._kafka, f"{self._client_id}-{self.name}-starts", self.group(epoch)) as consumer:
            committed = await consumer.committed(list(wanted))
            starts = {partition: committed.get(partition, first) for partition, first in wanted.items()}
            return await self._there(starts, consumer) if self.sources.expire else starts

    async def _there(self, starts: Mapping[Partition, int], consumer: BatchConsumer) -> dict[Partition, int]:
        """Where to start in topics that may have lost what was not rekeyed yet; the app has said that this may be."""
        found = {}
        for partition, start in starts.items():
            low, _ = await consumer.bounds(partition)
            if low > start:
                log.warning("rekey.expired", projection=self.projection.name, partition=partition, lost=low - start)
            found[partition] = max(low, start)
        return found


class RekeySession:
    """Rekeys the partitions of the sources that it was opened on."""

    def __init__(
        self, hop: RekeyHop, epoch: Epoch, producers: dict[int, TransactionalProducer],
        next_offsets: Mapping[Partition, int], stack: AsyncExitStack,
    ) -> None:  # fmt: skip
        self._hop, self._epoch, self._producers, self._stack = hop, epoch, producers, stack
        self._next = dict(next_offsets)
        self._consumer: BatchConsumer | None = None

    def attach(self, consumer: BatchConsumer) -> None:
        """The consumer by which the group is named in transactions."""
        self._consumer = consumer

    async def close(self) -> None:
        """Let the producers go."""
        await self._stack.aclose()

    async def take(self, records: Sequence[Received]) -> None:
        """Rekey a batch, each partition of a source in transactions of its own."""
        hop = self._hop
        letters: list[Letter] = []
        sources: dict[Partition, list[Sourced]] = defaultdict(list)
        ends: dict[Partition, int] = {}
        for record in records:
            partition = (record.topic(), record.partition())
            ends[partition] = record.offset() + 1
            try:
                sources[partition].append(hop.sources.read(record))
            except NervError as error:
                letters.append(Letter(record, str(error)))
        for (name, _), group in sources.items():
            saw(f"topic:{name}", f"projection:{hop.projection.name}", len(group))
        topic = ",".join(hop.sources.topics)
        events = with_context(sources.values())
        spans = process_spans(topic, hop.group(self._epoch), events, {n.PROJECTION: hop.projection.name})
        with processed(hop.measured, by_topic(records, hop.sources.topics)), spans as passed:
            slices = {p: self._slices(p, sources.get(p, ()), passed, letters, end) for p, end in ends.items()}
            # Before any offset moves: what is not in the dead letters then must come again.
            await hop.letters.write(letters, hop.name)
            by_owner: dict[int, list[Partition]] = defaultdict(list)
            for partition in slices:
                by_owner[hop.owner(partition)].append(partition)
            await asyncio.gather(*(self._commit_all(owned, slices) for owned in by_owner.values()))

    def _slices(
        self, partition: Partition, sources: Sequence[Sourced], passed: Mapping[Carrier, Carrier],
        letters: list[Letter], end: int,
    ) -> list[tuple[list[Outgoing], int]]:  # fmt: skip
        """What is to be written, in transactions, each with the offset after it; the last one leads to `end`."""
        number = self._hop.sources.number(partition)
        slices: list[tuple[list[Outgoing], int]] = []
        records: list[Outgoing] = []
        for source in sources:
            event, record = source
            try:
                keys = self._keys(source, number)
            except Exception as error:  # the app's key rule, or data that does not fit: no key to park
                letters.append(Letter(record, describe(error)))
                continue
            trace = passed.get(Carrier(event.traceparent, event.tracestate)) if passed else None
            for ordinal, key in enumerate(keys):
                origin = (self._epoch.token, number, origin_position(record.offset(), ordinal))
                records.append(rekeyed(self._hop.target, key, source, origin, trace))
            if len(records) >= TRANSACTION_RECORDS:
                slices.append((records, record.offset() + 1))
                records = []
        return [*slices, (records, end)]

    def _keys(self, source: Sourced, number: int) -> Sequence[str]:
        """The keys of an event. A record of a topic without a value, as compacted topics have them, says nothing to a fold."""
        projection, (event, record) = self._hop.projection, source
        if not projection.spec.topics:
            return projection.keys(event)
        if record.value() is None or event.type not in projection.types:
            return ()
        part = str(number) if projection.merged else key_of(record) if projection.spec.key is None else None
        return projection.keys(event, part)

    async def _commit_all(
        self, partitions: Sequence[Partition], slices: Mapping[Partition, list[tuple[list[Outgoing], int]]]
    ) -> None:
        for partition in partitions:  # of one producer, which has one transaction at a time
            for records, offset in slices[partition]:
                await self._commit(partition, records, offset)

    async def _commit(self, partition: Partition, records: Sequence[Outgoing], offset: int) -> None:
        producer = self._producers[self._hop.owner(partition)]
        await producer.commit(records, {partition: offset}, self._consumer)
        self._next[partition] = offset

    def at_end(self, ended: Mapping[Partition, int]) -> bool:
        """Whether the group stands before marks that end a partition."""
        return any(ended.get(partition, 0) > offset for partition, offset in self._next.items())

    async def rest(self, ended: Mapping[Partition, int]) -> None:
        """Move the group to the end."""
        for partition, offset in list(self._next.items()):
            end = ended.get(partition, 0)
            if end > offset:
                await self._commit(partition, (), end)
