# SPDX-License-Identifier: Apache-2.0
"""Blocking work from the loop, in a way that a cancellation cannot tear apart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], on_cancel: Callable[[], object] | None = None) -> T:
    """Run `work` in a thread. When cancelled, waits for its end first: what it started must be there for those who clean up.
    `on_cancel` may tell it to be quick."""
    job = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        await asyncio.wait({job})
        raise


@asynccontextmanager
async def threaded(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context manager whose beginning and end block, entered and left in threads."""
    value = await in_thread(manager.__enter__)
    try:
        yield value
    finally:
        await in_thread(lambda: manager.__exit__(None, None, None))
