# SPDX-License-Identifier: Apache-2.0
"""The peer: aiokafka's `send`, a future for each message, in the same batches. Prints CPU seconds for a million records, and
records a second.
"""

import asyncio
import gc
import sys

from aiokafka import AIOKafkaProducer

from bench.broker.records import BATCH, COLLECTOR, HEADERS, IN_FLIGHT, VALUE, Stopwatch


async def measure(bootstrap, topic, count):
    """Until the last one is acknowledged."""
    starts = iter(range(0, count, BATCH))
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, acks="all", compression_type="lz4", linger_ms=2
    )
    async with producer:
        await producer.send_and_wait(topic, VALUE, b"warm", headers=HEADERS)

        async def lane():
            for start in starts:
                waiting = [
                    await producer.send(topic, VALUE, b"key-%d" % i, headers=[*HEADERS, ("ce_id", b"%d" % i)])
                    for i in range(start, min(start + BATCH, count))
                ]
                for future in waiting:
                    await future

        watch = Stopwatch()
        await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
        return watch.figures(count)


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    sys.stdout.write(f"{asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))}\n")
