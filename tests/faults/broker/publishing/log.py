# SPDX-License-Identifier: Apache-2.0
"""The final log of a topic, read from Kafka itself: no broker has a say in it."""

import asyncio

from nerv.kafka import BatchConsumer, KafkaSettings, Received
from tests.faults.broker.publishing.operations import Entry

POLL_SECONDS = 0.01


def entry_of(record: Received) -> Entry:
    """The event in a record, as the load writes them: its number is its data; one with a correlation id is called by that."""
    headers = dict(record.headers() or ())
    place = (record.partition(), record.offset())
    return Entry(
        place,
        headers.get("ce_correlationid", headers["ce_id"]).decode(),
        (record.key() or b"").decode(),
        int(record.value() or b"0"),
    )


async def final_log(kafka: KafkaSettings, topic: str, partitions: int) -> list[Entry]:
    """What is committed in a topic now."""
    found: list[Entry] = []
    reached = {(topic, p): 0 for p in range(partitions)}
    async with BatchConsumer(kafka, "faults-log", "faults-log", assign=reached, ends=True) as consumer:
        ends = {at: (await consumer.bounds(at))[1] for at in reached}

        async def read() -> None:
            async for batch in consumer.batches():
                for record in batch:
                    found.append(entry_of(record))
                    reached[record.topic(), record.partition()] = record.offset() + 1

        reading = asyncio.create_task(read())
        # The log may end with transaction markers, which are in no batch; then only the consumer's end tells.
        while any(max(reached[at], consumer.ended.get(at, 0)) < end for at, end in ends.items()):
            await asyncio.wait({reading}, timeout=POLL_SECONDS)
            if reading.done():
                reading.result()
        reading.cancel()
        await asyncio.wait({reading})
    return sorted(found)
