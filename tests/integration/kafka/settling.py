# SPDX-License-Identifier: Apache-2.0
"""Threads of Kafka's client, which end a moment after their producer is gone."""

import asyncio

import psutil


async def settled(most: int) -> int:
    """How many threads this process has, native ones too, once there are no more than that, or their number stands still."""
    seen = [psutil.Process().num_threads()]
    while seen[-1] > most and (len(seen) < 100 or len(set(seen[-100:])) > 1):
        await asyncio.sleep(0.05)
        seen.append(psutil.Process().num_threads())
    return seen[-1]
