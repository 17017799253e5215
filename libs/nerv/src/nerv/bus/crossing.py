# SPDX-License-Identifier: Apache-2.0
"""What every bridge does with a wire: take batches of it for ever, and put a batch until it is there."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from nerv.cancelling import end
from nerv.errors import NervError, Retry
from nerv.protocols.wire import Arrived, Place, Wire
from nerv.telemetry.traffic import saw
from nerv.types import Event

log = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between two tries

Bring = Callable[[Sequence[Arrived]], Awaitable[None]]


class Crossing:
    """One bridge's way with wires. `error` is what it is waiting for at this moment, or why it has ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.error: str | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def down(self) -> bool:
        """Whether what took batches has ended."""
        return self._reading is not None and self._reading.done()

    def start(self, wire: Wire, bring: Bring) -> None:
        """Give every batch of a wire to `bring`. A batch that it fails on comes again, after a pause."""
        self._reading = asyncio.create_task(self._take(wire, bring), name=self.name)

    async def stop(self) -> None:
        """Take no more."""
        if self._reading is not None:
            await end(self._reading)

    async def put(
        self,
        wire: Wire,
        events: Sequence[Event[bytes]],
        places: Sequence[Place] | None = None,
        *,
        seconds: float = float("inf"),
    ) -> None:
        """Put a batch, and again while it may help, for so long. Raises the last error."""
        deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
        while True:
            try:
                await wire.put(events, places)
            except NervError as error:
                self.error = str(error)
                if error.retry is Retry.NEVER or time.monotonic() + pause > deadline:
                    raise
            else:
                self.error = None
                saw(f"bridge:{self.name}", wire.name, len(events))
                return
            pause = await _rest(pause)

    async def _take(self, wire: Wire, bring: Bring) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async for batch in wire.take():
                    await bring(batch)
                    saw(wire.name, f"bridge:{self.name}", len(batch))
                    pause, self.error = FIRST_PAUSE, None
            except NervError as error:
                self.error = str(error)
                if error.retry is Retry.NEVER:
                    log.error("bridge.in", bridge=self.name, error=str(error))
                    raise
                log.warning("bridge.in", bridge=self.name, error=str(error))
            pause = await _rest(pause)


async def _rest(pause: float) -> float:
    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
    return min(pause * 2, LONGEST_PAUSE)
