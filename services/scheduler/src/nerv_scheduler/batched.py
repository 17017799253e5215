# SPDX-License-Identifier: Apache-2.0
"""Requests that come while one is on its way go together in the next: one message instead of many, and no added waiting."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

MOST = 100  # requests a message
BYTES = 512 * 1024  # of a message, which may have 1 MiB: an event may have 256 KiB


class Batched(Generic[Q, A]):
    """`await batched(request)` sends it and gives its answer. How many wait is bounded by who calls.

    `send` answers for each request in order; what it raises, all of its requests are told. `weigh` is the bytes of one.
    So many messages are on their way `at_once`; with more than one, requests that do not wait for each other come in any order.
    """

    def __init__(
        self, send: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], weigh: Callable[[Q], int], at_once: int = 1
    ) -> None:
        self._send = send
        self._weigh = weigh
        self._at_once = at_once
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._sending: set[asyncio.Task[None]] = set()

    async def __call__(self, request: Q) -> A:
        """The answer. Cancelled, the request may still be sent: a repeat must be harmless."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        self._sending = {task for task in self._sending if not task.done()}
        if len(self._sending) < self._at_once:
            self._sending.add(asyncio.create_task(self._send_all()))
        return await answer

    async def _send_all(self) -> None:
        while self._waiting:
            batch = self._next()
            try:
                answers = await self._send([request for request, _ in batch])
            except Exception as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), found in zip(batch, answers, strict=True):
                if not answer.done():
                    answer.set_result(found)

    def _next(self) -> list[tuple[Q, asyncio.Future[A]]]:
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        size = 0
        while self._waiting and len(batch) < MOST:
            size += self._weigh(self._waiting[0][0])
            if batch and size > BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch
