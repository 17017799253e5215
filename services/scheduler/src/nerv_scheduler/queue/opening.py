# SPDX-License-Identifier: Apache-2.0
"""Open the queue by the service's settings."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from nerv.protocols.queue import TaskQueue
from nerv.redis import connect
from nerv.redis.connection import Redis
from nerv_scheduler.queue.redis_queue import RedisQueue
from nerv_scheduler.settings import SchedulerSettings


def make_queue(redis: Redis, settings: SchedulerSettings) -> RedisQueue:
    """The queue over some connections."""
    return RedisQueue(
        redis, settings.mesh, lease=settings.scheduler.lease_seconds, keep=settings.scheduler.keep_seconds
    )


@asynccontextmanager
async def own_queue(settings: SchedulerSettings) -> AsyncIterator[TaskQueue]:
    """A queue with connections of its own, for the thread that renews leases."""
    redis = connect(settings.redis, f"scheduler-{settings.instance}-leases")
    async with aclosing(redis):
        yield make_queue(redis, settings)
