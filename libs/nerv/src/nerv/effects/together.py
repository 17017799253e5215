# SPDX-License-Identifier: Apache-2.0
"""Many at the same time, of which none outlives the others."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any


async def all_or_nothing(jobs: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run them at the same time. The first error cancels the others, and is raised once all have ended."""
    if not jobs:
        return
    if len(jobs) == 1:
        await jobs[0]
        return
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await cancelled(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def cancelled(tasks: "Sequence[asyncio.Task[Any]]") -> None:
    """Cancel what still runs, and wait for it, also when we are cancelled meanwhile: nothing may outlive its program.

    What they ended with is looked at, so that asyncio does not report it as overlooked.
    """
    ending = {task for task in tasks if not task.done()}
    again: asyncio.CancelledError | None = None
    while ending:
        for task in ending:
            task.cancel()
        try:
            _, ending = await asyncio.wait(ending, timeout=1.0)
        except asyncio.CancelledError as error:
            again = error
            ending = {task for task in ending if not task.done()}
    for task in tasks:
        if not task.cancelled():
            task.exception()
    if again is not None:
        raise again
