# SPDX-License-Identifier: Apache-2.0
"""The peer Taskiq: `REDIS COUNT`: no-op tasks a second of one receiver that finds them all in its queue."""

import asyncio
import sys
import time

from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker


async def main(url, count):
    """Enqueue, then receive until all were run."""
    broker = RedisStreamBroker(url).with_result_backend(RedisAsyncResultBackend(url, result_ex_time=60))
    done, ran = asyncio.Event(), [0]

    @broker.task
    async def noop(number: int) -> int:
        ran[0] += 1
        if ran[0] == count:
            done.set()
        return number

    await broker.startup()
    limit = asyncio.Semaphore(32)

    async def enqueue(number):
        async with limit:
            await noop.kiq(number)

    await asyncio.gather(*(enqueue(number) for number in range(count)))
    began = time.perf_counter()
    working = asyncio.create_task(run_receiver_task(broker, max_async_tasks=32, max_prefetch=32))
    await done.wait()
    seconds = time.perf_counter() - began
    working.cancel()
    print(count / seconds, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
