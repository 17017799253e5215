# SPDX-License-Identifier: Apache-2.0
"""The only room that imports redis: connect, map its errors, run the scripts that live in `.lua` files."""

from nerv.redis.connection import RedisSettings, connect, mapped, wait_ready
from nerv.redis.scripts import Scripts

__all__ = ["RedisSettings", "Scripts", "connect", "mapped", "wait_ready"]
