# SPDX-License-Identifier: Apache-2.0
"""Many small effects of one type reach their handler as one call."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from nerv.errors import Internal
from nerv.types import Description

BatchHandler: TypeAlias = Callable[[Sequence[Any]], Awaitable[Sequence[Any]] | Sequence[Any]]


class Batcher:
    """Collects what is asked for in one turn of the loop; at most `size` effects a call."""

    __slots__ = ("_running", "_waiting", "calls", "handler", "size")

    def __init__(self, handler: BatchHandler, size: int) -> None:
        self.handler = handler
        self.size = size
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self.calls = 0

    def describe(self) -> Description:
        """The batcher as data: how many calls its handler had."""
        name = str(getattr(self.handler, "__qualname__", type(self.handler).__qualname__))
        return Description("Batcher", name, counters={"calls": self.calls, "size": self.size})

    async def many(self, effects: Sequence[Any]) -> list[Any]:
        """The answers, in order; an exception among them is that effect's error. Raises what the handler raises."""
        answers: list[Any] = []
        for start in range(0, len(effects), self.size):
            part = effects[start : start + self.size]
            self.calls += 1
            found = self.handler(part)
            given = await found if inspect.isawaitable(found) else found
            if len(given) != len(part):
                raise Internal(f"a batch handler was asked {len(part)} effects and gave {len(given)} answers")
            answers += given
        return answers

    async def one(self, effect: Any) -> Any:
        """The answer to one effect, asked together with what others ask in this turn of the loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._flush)
        self._waiting.append((effect, future))
        return await future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._answer([w for w in waiting if not w[1].done()]))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _answer(self, waiting: Sequence[tuple[Any, "asyncio.Future[Any]"]]) -> None:
        try:
            answers = await self.many([effect for effect, _ in waiting])
        except Exception as error:
            answers = [error] * len(waiting)
        for (_, future), answer in zip(waiting, answers, strict=True):
            if future.done():  # whoever asked has gone away
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
