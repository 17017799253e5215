# SPDX-License-Identifier: Apache-2.0
"""Compare history with the queue now and then: an unfinished run that the queue does not know is put back.

Whatever is lost of a queue as a whole is noticed at once; this finds what is lost of one run, by whatever means.
"""

import asyncio
import random
from collections.abc import Sequence
from itertools import islice
from types import TracebackType
from typing import Self

import structlog

from nerv.cancelling import end
from nerv.errors import NervError
from nerv.protocols.queue import Queue
from nerv_scheduler.runs import Recovery

log = structlog.get_logger(__name__)

AT_ONCE = 500  # runs that the queue is asked about at a time
WHOLE = 1000  # runs that are compared node by node in one sweep; the others have their turn in the next ones
REST_SECONDS = 0.05  # after each of these, so that a sweep takes no more than a fraction of the time


class Sweeper:
    """Sweeps from entering to leaving, about every `seconds`."""

    def __init__(self, queue: Queue, recovery: Recovery, seconds: float) -> None:
        self._queue = queue
        self._recovery = recovery
        self._seconds = seconds
        self._turn = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._sweeping(), name="sweeper")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end(self._task)

    async def _sweeping(self) -> None:
        while True:
            await asyncio.sleep(self._seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            try:
                await self.sweep()
            except NervError as error:
                log.warning("sweep.broken_off", error=str(error))

    async def sweep(self) -> int:
        """Put back what the queue does not know; answers how many runs were. Raises Unavailable.

        Of some runs, each time of others, all is put back that is not there: entries, times, keys of waits, orders.
        """
        restored = 0
        found = await self._recovery.unfinished()
        unfinished = iter(found)
        while runs := list(islice(unfinished, AT_ONCE)):
            known = await self._queue.known(runs)
            for run in (run for run, here in zip(runs, known, strict=True) if not here):
                restored += await self._recovery.restore(run)
            await asyncio.sleep(REST_SECONDS)
        for run in self._whole(found):
            restored += await self._recovery.restore(run)
        if restored:
            log.warning("sweep.restored", runs=restored)
        return restored

    def _whole(self, unfinished: Sequence[str]) -> Sequence[str]:
        """The runs whose turn it is."""
        start = self._turn if self._turn < len(unfinished) else 0
        self._turn = start + WHOLE
        return unfinished[start : self._turn]
