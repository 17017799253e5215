# SPDX-License-Identifier: Apache-2.0
"""End a task for certain, or see it through."""

import asyncio
import math
from typing import Any

import anyio

from nerv.types import T

CANCEL_SECONDS = 0.2  # after which a task that goes on is cancelled again


async def end(task: "asyncio.Task[Any]", seconds: float = math.inf) -> None:
    """Cancel a task until it has ended, for so long at most; what it ended with is its own affair.

    Once is not enough: on Python 3.11 `asyncio.wait_for`, and so every command of redis-py, may lose a cancellation
    (python/cpython#86296, mended in 3.12).
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while not task.done() and clock() < deadline:
        task.cancel()
        await asyncio.wait({task}, timeout=min(CANCEL_SECONDS, deadline - clock()))
    if task.done() and not task.cancelled():
        task.exception()


async def finished(task: "asyncio.Task[T]") -> T:
    """What a task gives, however often we are cancelled meanwhile; that is raised when it has ended."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # which would else cancel us again and again
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()
