# SPDX-License-Identifier: Apache-2.0
"""Which partitions this replica owns, told to every projection. The number of a partition stands for that partition of
history and of every rekeyed topic, so that one membership shares out all the work."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from nerv.service import Health
from nerv_projector.runner import Runner

CHECK_SECONDS = 1.0


class Hub:
    """All runners. Use as `async with`."""

    def __init__(self, runners: Sequence[Runner], health: Health) -> None:
        self.runners = {runner.name: runner for runner in runners}
        self._owned: frozenset[int] = frozenset()
        self._stack = AsyncExitStack()
        for runner in runners:
            # Lag does not make a replica unready: all replicas read the same views, so another would answer no better.
            health.register(f"projection {runner.name}", lambda runner=runner: runner.fault)  # type: ignore[misc]

    @property
    def owned(self) -> frozenset[int]:
        """The partitions this replica works on."""
        return self._owned

    async def __aenter__(self) -> Self:
        for runner in self.runners.values():
            await self._stack.enter_async_context(runner)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def gained(self, partitions: set[int]) -> None:
        """The group gives us these."""
        self._owned |= partitions
        for runner in self.runners.values():
            runner.own(self._owned)

    async def lost(self, partitions: set[int]) -> None:
        """The group takes these; when this returns nothing of them is in hand."""
        self._owned -= partitions
        await asyncio.gather(*(runner.let_go(self._owned) for runner in self.runners.values()))

    async def check(self) -> None:
        """Have every projection see whether its epoch still holds."""
        await asyncio.gather(*(runner.check() for runner in self.runners.values()))
