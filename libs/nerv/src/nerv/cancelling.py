# SPDX-License-Identifier: Apache-2.0
"""End a task for certain."""

import asyncio
from typing import Any

CANCEL_SECONDS = 0.2  # after which a task that goes on is cancelled again


async def end(task: "asyncio.Task[Any]") -> None:
    """Cancel a task until it has ended; what it ended with is its own affair.

    Once is not enough: on Python 3.11 `asyncio.wait_for`, and so every command of redis-py, may lose a cancellation
    (python/cpython#86296, mended in 3.12).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_SECONDS)
    if not task.cancelled():
        task.exception()
