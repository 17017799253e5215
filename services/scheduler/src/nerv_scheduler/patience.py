# SPDX-License-Identifier: Apache-2.0
"""Wait for a server that is away: work that was begun is not thrown away because Kafka or Redis are restarted."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nerv.errors import NervError, Retry

T = TypeVar("T")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Patience:
    """Repeats what may be repeated until it is done; meanwhile `fault` says what is waited for. Ends by cancellation only."""

    def __init__(self) -> None:
        self._waiting: dict[object, tuple[float, str]] = {}

    def fault(self) -> str | None:
        """What has been waited for the longest; None when nothing is."""
        if not self._waiting:
            return None
        since, detail = min(self._waiting.values())
        return f"waiting for {time.monotonic() - since:.0f} s: {detail}"

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call` answers, once it does. `call` must be safe to repeat. Raises what is refused for good."""
        me = object()
        pause = FIRST_PAUSE
        try:
            while True:
                try:
                    return await call()
                except NervError as error:
                    if error.retry is Retry.NEVER:
                        raise
                    since, _ = self._waiting.get(me, (time.monotonic(), ""))
                    self._waiting[me] = (since, error.detail)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._waiting.pop(me, None)
