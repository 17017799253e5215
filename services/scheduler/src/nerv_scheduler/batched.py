# SPDX-License-Identifier: Apache-2.0
"""Appends that come while one is on its way go together in the next: one request instead of many, and no added waiting."""

import asyncio
from collections import deque

from nerv.errors import NervError
from nerv.protocols import AppendOutcome, AppendRequest, History

MOST = 100  # requests a message; an event may have 256 KiB, a message 1 MiB
BYTES = 512 * 1024


class Batched:
    """`await batched(request)` appends it and gives its outcome. How many wait is bounded by who calls."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._waiting: deque[tuple[AppendRequest, asyncio.Future[AppendOutcome]]] = deque()
        self._sending: asyncio.Task[None] | None = None

    async def __call__(self, request: AppendRequest) -> AppendOutcome:
        """The outcome. Cancelled, the request may still be sent; its ids make a repeat harmless."""
        outcome: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, outcome))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return await outcome

    async def _send(self) -> None:
        while self._waiting:
            batch = self._next()
            try:
                outcomes = await self._history.append([request for request, _ in batch])
            except NervError as error:
                outcomes = [error] * len(batch)
            except BaseException as error:
                for _, outcome in batch:
                    if not outcome.done():
                        outcome.set_exception(error)
                raise
            for (_, outcome), found in zip(batch, outcomes, strict=True):
                if not outcome.done():
                    outcome.set_result(found)

    def _next(self) -> list[tuple[AppendRequest, asyncio.Future[AppendOutcome]]]:
        batch: list[tuple[AppendRequest, asyncio.Future[AppendOutcome]]] = []
        size = 0
        while self._waiting and len(batch) < MOST:
            size += sum(len(event.data) for event in self._waiting[0][0].events)
            if batch and size > BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch
