# SPDX-License-Identifier: Apache-2.0
"""Rekey history for a projection whose key is not the stream's: each event to each of its keys, in transactions."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from nerv.errors import NervError
from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, Received, TransactionalProducer
from nerv.projections import Projection
from nerv.protocols.views import Epoch
from nerv.telemetry import Carrier, process_spans
from nerv.telemetry import names as n
from nerv_projector.deadletters import Letter, Letters
from nerv_projector.lanes import Partition, Session
from nerv_projector.model import describe, origin_position, versioned
from nerv_projector.records import Sourced, parse, rekeyed

TRANSACTION_RECORDS = 10_000  # records written in one transaction, but for the keys of its last event


class RekeyHop:
    """Reads history, writes `<mesh>.rekeyed.<projection>.v1`.

    Each partition of history has one producer, fenced by a transactional id made of the projection and the partition
    alone; records and the group's offsets are committed together. So every event of an epoch is rekeyed exactly once, as
    long as Kafka keeps the group's offsets; should it lose them, the folder drops the doubles by their origin.
    """

    def __init__(
        self, projection: Projection[Any], kafka: KafkaSettings, client_id: str, letters: Letters, *,
        history: str, target: str, group: str, version: int = 1,
    ) -> None:  # fmt: skip
        self.projection, self.letters = projection, letters
        self.history, self.target = history, target
        self._kafka, self._client_id, self._group = kafka, client_id, group
        self._version = version

    @property
    def name(self) -> str:
        """`rekey-airports`, and `rekey-airports.2` of its second version: each has fences of its own."""
        return versioned(f"rekey-{self.projection.name}", self._version)

    def group(self, epoch: Epoch) -> str:
        """The group whose offsets say how far an epoch is rekeyed."""
        return f"{self._group}.rekey.{self.projection.name}.{epoch.token}"

    async def open(self, epoch: Epoch, partitions: frozenset[int]) -> tuple[Session, Mapping[Partition, int]]:
        """Shut out earlier owners of these partitions, then take up where they have committed."""
        async with AsyncExitStack() as stack:
            producers = {p: self._producer(p) for p in partitions}
            for producer in producers.values():
                stack.push_async_callback(producer.close)
            await asyncio.gather(*(producer.start() for producer in producers.values()))
            # Only now: the transaction of an earlier owner has ended, and no other can commit.
            starts = await self._starts(epoch, partitions)
            session = RekeySession(
                self, epoch, producers, {p: starts[self.history, p] for p in partitions}, stack.pop_all()
            )
        return session, starts

    def _producer(self, partition: int) -> TransactionalProducer:
        name = f"{self._group}.{self.name}/{partition}"
        return TransactionalProducer(self._kafka, name, f"{self._client_id}-{self.name}-{partition}")

    async def _starts(self, epoch: Epoch, partitions: frozenset[int]) -> dict[Partition, int]:
        wanted = [(self.history, p) for p in partitions]
        async with BatchConsumer(self._kafka, f"{self._client_id}-{self.name}-starts", self.group(epoch)) as consumer:
            committed = await consumer.committed(wanted)
            return {p: committed[p] if p in committed else epoch.first[p[1]] for p in wanted}


class RekeySession:
    """Rekeys the partitions of history it was opened on."""

    def __init__(
        self, hop: RekeyHop, epoch: Epoch, producers: dict[int, TransactionalProducer], next_offsets: dict[int, int],
        stack: AsyncExitStack,
    ) -> None:  # fmt: skip
        self._hop, self._epoch, self._producers, self._stack = hop, epoch, producers, stack
        self._next = next_offsets
        self._consumer: BatchConsumer | None = None

    def attach(self, consumer: BatchConsumer) -> None:
        """The consumer by which the group is named in transactions."""
        self._consumer = consumer

    async def close(self) -> None:
        """Let the producers go."""
        await self._stack.aclose()

    async def take(self, records: Sequence[Received]) -> None:
        """Rekey a batch, each partition of history in transactions of its own."""
        hop = self._hop
        letters: list[Letter] = []
        sources: dict[int, list[Sourced]] = defaultdict(list)
        for record in records:
            try:
                sources[record.partition()].append((parse(record), record))
            except NervError as error:
                letters.append((record, str(error)))
        events = (event for group in sources.values() for event, _ in group)
        with process_spans(hop.history, hop.group(self._epoch), events, {n.PROJECTION: hop.projection.name}) as passed:
            parts = [self._slices(partition, group, passed, letters) for partition, group in sources.items()]
            # Before any offset moves: what is not in the dead letters then must come again.
            await hop.letters.write(letters, hop.name)
            ends = {record.partition(): record.offset() + 1 for record in records}
            done = [self._commit_all(p, slices, ends[p]) for p, slices in zip(sources, parts, strict=True)]
            await asyncio.gather(*done)

    def _slices(
        self, partition: int, sources: Sequence[Sourced], passed: Mapping[Carrier, Carrier], letters: list[Letter]
    ) -> list[tuple[list[Outgoing], int]]:
        """What is to be written, in transactions, each with the offset after it."""
        slices: list[tuple[list[Outgoing], int]] = []
        records: list[Outgoing] = []
        for source in sources:
            event, record = source
            try:
                keys = self._hop.projection.keys(event)
            except Exception as error:  # the app's key rule, or data that does not fit: no key to park
                letters.append((record, describe(error)))
                continue
            trace = passed.get(Carrier(event.traceparent, event.tracestate)) if passed else None
            for ordinal, key in enumerate(keys):
                origin = (self._epoch.token, partition, origin_position(record.offset(), ordinal))
                records.append(rekeyed(self._hop.target, key, source, origin, trace))
            if len(records) >= TRANSACTION_RECORDS:
                slices.append((records, record.offset() + 1))
                records = []
        slices.append((records, sources[-1][1].offset() + 1))
        return slices

    async def _commit_all(self, partition: int, slices: list[tuple[list[Outgoing], int]], end: int) -> None:
        slices[-1] = (slices[-1][0], end)
        for records, offset in slices:
            await self._commit(partition, records, offset)

    async def _commit(self, partition: int, records: Sequence[Outgoing], offset: int) -> None:
        await self._producers[partition].commit(records, {(self._hop.history, partition): offset}, self._consumer)
        self._next[partition] = offset

    def at_end(self, ended: Mapping[Partition, int]) -> bool:
        """Whether the group stands before marks that end a partition."""
        return any(ended.get((self._hop.history, p), 0) > offset for p, offset in self._next.items())

    async def rest(self, ended: Mapping[Partition, int]) -> None:
        """Move the group to the end."""
        for partition, offset in list(self._next.items()):
            end = ended.get((self._hop.history, partition), 0)
            if end > offset:
                await self._commit(partition, (), end)
