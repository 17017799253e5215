# SPDX-License-Identifier: Apache-2.0
"""Ours: `BOOTSTRAP TOPIC COUNT batches|places|futures`, batches of 500, 24 in flight. Prints CPU seconds for a million
records, and records a second.

A batch waits for Kafka as a whole, for the place of each of its records, or for a future of each of its records.
"""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Sequence

from bench.broker.records import BATCH, COLLECTOR, HEADERS, IN_FLIGHT, VALUE, Stopwatch
from nerv.kafka import KafkaSettings, Outgoing, Position, Producer

Send = Callable[[Producer, Sequence[Outgoing]], Awaitable[None]]


async def batches(producer: Producer, records: Sequence[Outgoing]) -> None:
    """All or an error."""
    await producer.publish_all(records)


async def places(producer: Producer, records: Sequence[Outgoing]) -> None:
    """A position for each."""
    for delivery in await producer.publish(records):
        if not isinstance(delivery, Position):
            raise delivery


async def futures(producer: Producer, records: Sequence[Outgoing]) -> None:
    """A future for each."""
    for future in [producer.send(record) for record in records]:
        await future


WAYS: dict[str, Send] = {"batches": batches, "places": places, "futures": futures}


async def measure(bootstrap: str, topic: str, count: int, send: Send) -> str:
    """Until the last one is acknowledged."""
    starts = iter(range(0, count, BATCH))
    async with Producer(KafkaSettings(bootstrap_servers=bootstrap), "bench-ours") as producer:
        await producer.publish_all([Outgoing(topic, VALUE, b"warm", HEADERS)])

        async def lane() -> None:
            for start in starts:
                numbers = range(start, min(start + BATCH, count))
                await send(
                    producer,
                    [Outgoing(topic, VALUE, b"key-%d" % i, [*HEADERS, ("ce_id", b"%d" % i)]) for i in numbers],
                )

        watch = Stopwatch()
        await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
        return watch.figures(count)


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    figures = asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), WAYS[sys.argv[4]]))
    sys.stdout.write(f"{figures}\n")
