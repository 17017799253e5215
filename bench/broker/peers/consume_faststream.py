# SPDX-License-Identifier: Apache-2.0
"""The peer: a FastStream handler of single messages, on confluent-kafka. Prints CPU seconds for a million records,
and records a second, from the first one on.
"""

import asyncio
import gc
import sys
import uuid

from faststream import FastStream
from faststream.confluent import KafkaBroker

from bench.broker.records import COLLECTOR, VALUE, Stopwatch


async def measure(bootstrap, topic, count):
    """Each record's value is looked at. Nothing is decoded or validated: the least that a handler can cost."""
    read = size = 0
    watch, figures = Stopwatch(), ""
    over = asyncio.Event()
    broker = KafkaBroker(bootstrap, logger=None, apply_types=False, config={"isolation.level": "read_committed"})

    async def as_it_is(message):
        return message.body

    @broker.subscriber(topic, group_id=uuid.uuid4().hex, auto_offset_reset="earliest", decoder=as_it_is)
    async def hear(body):
        nonlocal read, size, watch, figures
        if not read:
            watch = Stopwatch()
        size += len(body)
        read += 1
        if read == count:
            figures = watch.figures(count - 1)
            over.set()

    app = FastStream(broker)
    await app.start()
    async with asyncio.timeout(120):
        await over.wait()
    await app.stop()
    assert size >= count * len(VALUE)
    return figures


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    sys.stdout.write(f"{asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))}\n")
