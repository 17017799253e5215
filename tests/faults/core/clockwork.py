# SPDX-License-Identifier: Apache-2.0
"""An event loop whose time passes only when there is nothing to do, so that an hour of waiting costs nothing and no machine
is too slow for a time-out.
"""

import asyncio
import selectors
from typing import Any


class Deadlock(BaseException):
    """Everybody waits, and nothing will ever happen. No handler of errors may catch it."""


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """What is ready; when nothing is, the time is at once later by as much as would have been waited."""
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Deadlock
            self.now += timeout
        return ready


class Clockwork(asyncio.SelectorEventLoop):
    """For programs without threads and without I/O: `asyncio.Runner(loop_factory=Clockwork)`."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Seconds since the loop was made, of those that somebody waited for."""
        return self._clock.now
