# SPDX-License-Identifier: Apache-2.0
"""Gather single reads: while one command is under way, what else is asked for waits, and goes as one command after it.

A command costs the client more than the value that it brings. Alone, a read is asked for at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

MOST = 500  # names in one command: Redis answers nobody meanwhile

Fetch = Callable[[Sequence[str]], Awaitable[Sequence[bytes | None]]]
"""What is under these names, in their order."""


class Gathered:
    """Reads what many ask for, each a single name. What a command meets is raised to all who wait for it."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._waiting: dict[str, asyncio.Future[bytes | None]] = {}
        self._working: asyncio.Task[None] | None = None

    async def __call__(self, name: str) -> bytes | None:
        """What is under a name, as it is after this call began."""
        future = self._waiting.get(name)
        if future is None:
            future = self._waiting[name] = asyncio.get_running_loop().create_future()
            if self._working is None:
                self._working = asyncio.create_task(self._work())
        return await asyncio.shield(future)  # others may wait for it, too

    async def _work(self) -> None:
        try:
            while self._waiting:
                names = list(self._waiting)[:MOST]
                futures = [self._waiting.pop(name) for name in names]
                await self._settle(names, futures)
        finally:
            self._working = None

    async def _settle(self, names: Sequence[str], futures: Sequence["asyncio.Future[bytes | None]"]) -> None:
        try:
            found = await self._fetch(names)
        except Exception as error:
            for future in futures:
                future.set_exception(error)
                future.exception()  # whoever asked may have gone away
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        else:
            for future, data in zip(futures, found, strict=True):
                future.set_result(data)
