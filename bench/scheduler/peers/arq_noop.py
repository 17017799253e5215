# SPDX-License-Identifier: Apache-2.0
"""The peer arq: `REDIS COUNT`: no-op tasks a second of one worker that finds them all in its queue."""

import asyncio
import sys
import time

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func


async def noop(ctx, number):
    """Nothing."""
    return number


async def main(url, count):
    """Enqueue, then work until the queue is empty."""
    settings = RedisSettings.from_dsn(url)
    pool = await create_pool(settings)
    limit = asyncio.Semaphore(32)

    async def enqueue(number):
        async with limit:
            await pool.enqueue_job("noop", number)

    await asyncio.gather(*(enqueue(number) for number in range(count)))
    worker = Worker([func(noop, name="noop")], redis_settings=settings, burst=True, max_jobs=32, handle_signals=False)
    began = time.perf_counter()
    await worker.main()
    seconds = time.perf_counter() - began
    assert worker.jobs_complete == count, worker.jobs_complete
    print(count / seconds)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
