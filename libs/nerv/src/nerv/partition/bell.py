# SPDX-License-Identifier: Apache-2.0
"""How worker threads get the attention of the event loop."""

import asyncio
import contextlib

import anyio


class Bell:
    """Rung from anywhere, heard by the one task that waits. Made on the loop that hears it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Wake who waits. Safe in every thread; after the loop's end nobody hears it."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._set)

    async def heard(self, seconds: float) -> None:
        """Until it was rung since the last time, at most so long."""
        with anyio.move_on_after(seconds):
            await self._rung.wait()
        self._rung = anyio.Event()

    def _set(self) -> None:
        self._rung.set()
