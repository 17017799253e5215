# SPDX-License-Identifier: Apache-2.0
"""Threads for what blocks: reading a source and comparing. Bounded, and none of them keeps the process from ending."""

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import copy_context
from threading import Event, Thread
from types import TracebackType
from typing import Self, TypeVar

from nerv.errors import Unavailable
from nerv.sync.errors import LoadRefused
from nerv.sync.loading import Check

T = TypeVar("T")

STOP_SECONDS = 3.0  # that threads have to see that they are to stop


class Threads:
    """At most `count` threads at once. At the end they are told to stop by the check that their work calls.

    They are daemons: a source that hangs outlives the wait for it, but not the process (rule 16).
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = asyncio.Semaphore(count)
        self._stop = Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A daemon that is inside of native code when the interpreter ends aborts the process, so it is waited for.
        self._stop.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                for _ in range(self._count):
                    await self._free.acquire()

    async def run(self, work: Callable[[Check], T]) -> T:
        """What `work` returns or raises. A caller that is cancelled leaves its thread to end, and its place taken until then."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        context = copy_context()

        def settle(set_outcome: Callable[[], None]) -> None:
            self._free.release()
            if not future.done():
                set_outcome()

        def body() -> None:
            try:
                result = context.run(work, self._check)
            except BaseException as error:
                outcome = _partial(future.set_exception, error)
            else:
                outcome = _partial(future.set_result, result)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, outcome)

        Thread(target=body, name="sync", daemon=True).start()
        return await future

    def _check(self) -> None:
        if self._stop.is_set():
            raise Unavailable("this replica is going down", retry_after=1.0)


class SourceThreads:
    """Reads sources in these threads, each within so many seconds."""

    def __init__(self, threads: Threads, seconds: float) -> None:
        self._threads = threads
        self._seconds = seconds

    async def __call__(self, work: Callable[[Check], T]) -> T:
        """What `work` returns or raises. Raises LoadRefused when it takes too long."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._threads.run(work)
        except TimeoutError:
            raise LoadRefused(
                f"the source was not read within {self._seconds:.0f} s (NERV_SYNC__LOAD_SECONDS)"
            ) from None


def _partial(function: Callable[[T], None], value: T) -> Callable[[], None]:
    return lambda: function(value)
