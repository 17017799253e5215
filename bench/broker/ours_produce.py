# SPDX-License-Identifier: Apache-2.0
"""Ours: batches of 500 through `nerv.kafka.Producer`, eight in flight. Prints records a second."""

import asyncio
import sys
import time

from nerv.kafka import KafkaSettings, Outgoing, Position, Producer

BATCH = 500
IN_FLIGHT = 8
HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"bench.noted.v1"),
    ("ce_source", b"bench"),
    ("content-type", b"application/json"),
]
VALUE = b'{"n": 1, "text": "%s"}' % (b"x" * 230)


async def measure(bootstrap: str, topic: str, count: int) -> float:
    """Records a second until the last one is acknowledged."""
    batches = iter(range(0, count, BATCH))
    async with Producer(KafkaSettings(bootstrap_servers=bootstrap), "bench-ours") as producer:
        await producer.publish([Outgoing(topic, VALUE, b"warm", HEADERS)])

        async def lane() -> None:
            for start in batches:
                records = [
                    Outgoing(topic, VALUE, b"key-%d" % i, [*HEADERS, ("ce_id", b"%d" % i)])
                    for i in range(start, min(start + BATCH, count))
                ]
                for delivery in await producer.publish(records):
                    if not isinstance(delivery, Position):
                        raise delivery

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
        return count / (time.perf_counter() - began)


if __name__ == "__main__":
    figure = asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    sys.stdout.write(f"{figure}\n")
