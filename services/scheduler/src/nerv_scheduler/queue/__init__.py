# SPDX-License-Identifier: Apache-2.0
"""The queue port on Redis; its scripts are the `.lua` files here."""

from nerv_scheduler.queue.redis_queue import RedisQueue

__all__ = ["RedisQueue"]
