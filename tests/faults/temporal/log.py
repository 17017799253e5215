# SPDX-License-Identifier: Apache-2.0
"""The final log, read from Kafka itself: no service and no index has a say in it."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

from nerv.cloudevents.proto_format import to_us
from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.kafka.owning import Fence
from nerv.types import Event
from nerv_temporal.records import parse
from tests.faults.temporal.operations import Entry

Partition = tuple[str, int]
Reached = dict[Partition, int]
POLL_SECONDS = 0.01


@dataclass(slots=True)
class Final:
    """Every committed event, by stream, in the order of Kafka's offsets; and how often a partition was taken over."""

    log: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    take_overs: int = 0


async def final_log(kafka: KafkaSettings, topic: str, partitions: int) -> Final:
    """What a topic of history holds now."""
    found = Final()
    reached = {(topic, p): 0 for p in range(partitions)}
    async with BatchConsumer(kafka, "faults-log", "faults-log", assign=reached, ends=True) as consumer:
        ends = {at: (await consumer.bounds(at))[1] for at in reached}
        reading = asyncio.create_task(_read(consumer, reached, found))
        # The log may end with transaction markers, which are in no batch; then only the consumer's end tells.
        while any(max(reached[at], consumer.ended.get(at, 0)) < end for at, end in ends.items()):
            await asyncio.wait({reading}, timeout=POLL_SECONDS)
            if reading.done():
                reading.result()
        reading.cancel()
        await asyncio.wait({reading})
    return found


async def _read(consumer: BatchConsumer, reached: Reached, found: Final) -> None:
    async for batch in consumer.batches():
        for record in batch:
            event = parse(record)
            if isinstance(event, Event) and event.recorded_time is not None:
                at = record.partition(), record.offset()
                entry = Entry(event.sequence or 0, event.id, to_us(event.recorded_time), *at)
                found.log[event.stream].append(entry)
            elif isinstance(event, Fence) and event.producer == "b":
                found.take_overs += 1
            reached[record.topic(), record.partition()] = record.offset() + 1
