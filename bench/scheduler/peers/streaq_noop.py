# SPDX-License-Identifier: Apache-2.0
"""The peer streaQ: `REDIS COUNT`: no-op tasks a second of one worker that finds them all in its queue."""

import sys
import time

import anyio
from streaq import Worker


def main(url, count):
    """Enqueue, then work until the queue is empty."""
    worker = Worker(redis_url=url, concurrency=32, queue_name="bench")

    @worker.task()
    async def noop(number: int) -> int:
        return number

    async def enqueue():
        async with worker:
            for at in range(0, count, 1000):
                await worker.enqueue_many([noop.enqueue(n) for n in range(at, min(count, at + 1000))])

    anyio.run(enqueue)
    worker.burst = True
    began = time.perf_counter()
    worker.run_sync()
    seconds = time.perf_counter() - began
    assert worker.counters["completed"] == count, dict(worker.counters)
    print(count / seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
