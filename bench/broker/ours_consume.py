# SPDX-License-Identifier: Apache-2.0
"""Ours: `BOOTSTRAP TOPIC PARTITIONS COUNT`, batches of `BatchConsumer`. Prints CPU seconds for a million records, and
records a second, from the first batch on.
"""

import asyncio
import gc
import sys
import uuid

from bench.broker.records import COLLECTOR, TAKEN, VALUE, Stopwatch
from nerv.kafka import BatchConsumer, KafkaSettings


async def measure(bootstrap: str, topic: str, partitions: int, count: int) -> str:
    """Each record's value is looked at."""
    read = size = first = 0
    consumer = BatchConsumer(
        KafkaSettings(bootstrap_servers=bootstrap),
        "bench-ours",
        uuid.uuid4().hex,
        assign={(topic, number): 0 for number in range(partitions)},
        batch=TAKEN,
    )
    async with consumer:
        async for records in consumer.batches():
            if not read:
                watch, first = Stopwatch(), len(records)
            for record in records:
                size += len(record.value() or b"")
            read += len(records)
            if read >= count:
                break
        figures = watch.figures(read - first)
    assert size == read * len(VALUE)
    return figures


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    bootstrap, topic, partitions, count = sys.argv[1:]
    sys.stdout.write(f"{asyncio.run(measure(bootstrap, topic, int(partitions), int(count)))}\n")
