# SPDX-License-Identifier: Apache-2.0
"""What has come for parked keys since they were parked: read again from the topic that is folded, which has it in order."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from nerv.errors import Gone, TooLarge
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.kafka.deadletters import Origin
from nerv.protocols.views import Cursor, Epoch
from nerv_projector.batching import Sorter
from nerv_projector.records import Sourced

MOST = 200_000  # events that may have come for keys that are mended together: all of them are in memory

Read = Callable[[int, int, int], AsyncGenerator[Sequence[Received], None]]
"""The records of a partition from one offset up to another. Raises Unavailable, or Gone where they are not there any more."""


def reader(kafka: KafkaSettings, client_id: str, topic: str) -> Read:
    """Reads a topic of Kafka, in no group."""

    async def read(partition: int, start: int, until: int) -> AsyncGenerator[Sequence[Received], None]:
        place = (topic, partition)
        async with BatchConsumer(kafka, client_id, client_id, assign={place: start}, eager=True, ends=True) as consumer:
            low, _ = await consumer.bounds(place)
            if low > start:
                raise Gone(f"{topic} has lost what came for the parked keys; build the views anew")
            async for records in consumer.batches_to({place: until}):
                yield records

    return read


class Backlog:
    """The events of some parked keys of one partition, each from the one on at which it is parked.

    They are judged as they were when they came, from the same cursor on: doubles and what was late are passed over again.
    Events that are skipped by now are left out.
    """

    def __init__(
        self, sorter: Sorter, read: Read, epoch: Epoch, partition: int, since: Cursor, parked: Mapping[str, str]
    ) -> None:
        """`parked`: the keys, each with the position at which it is parked; none of them is before `since`, at which the sorter
        begins.
        """
        self.epoch, self.partition, self.since, self.parked = epoch, partition, since, parked
        self.events: dict[str, list[Sourced]] = defaultdict(list)
        self._sorter, self._read, self._next = sorter, read, since.next_offset
        self._from = {key: Origin.parse(position).offset for key, position in parked.items()}
        self._count = 0

    async def read(self, until: int) -> None:
        """All up to an offset. Raises Unavailable, Gone or TooLarge."""
        if until <= self._next:
            return
        async with aclosing(self._read(self.partition, self._next, until)) as batches:
            async for records in batches:
                await self._keep([record for record in records if record.offset() < until])
        self._next = until

    async def _keep(self, records: Sequence[Received]) -> None:
        batch = await self._sorter.sort(records)
        for key in self._from.keys() & batch.events.keys():
            found = [source for source in batch.events[key] if source[1].offset() >= self._from[key]]
            self.events[key] += found
            self._count += len(found)
        if self._count > MOST:
            raise TooLarge(f"more than {MOST} events have come for keys that are parked; build the views anew")
