# SPDX-License-Identifier: Apache-2.0
"""Takes a service through the windows of a series while it works, and notes what they take."""

import asyncio
from collections.abc import Callable
from itertools import chain, cycle
from typing import Self

import nerv.telemetry.spans.keeper as keeping
from bench.telemetry.modes import Mode, Switch
from bench.telemetry.windows import Noted, Series, Window


class Keeper(keeping.Keeper):
    """Writes spans when it is asked to, and not by itself."""

    it: "Keeper"

    @staticmethod
    def take_over() -> None:
        """Services that start from now on have this one."""
        keeping.Keeper, keeping.EVERY_SECONDS = Keeper, 3600.0  # type: ignore[misc]

    async def __aenter__(self) -> Self:
        """It can be asked from now on."""
        Keeper.it = self
        return await super().__aenter__()

    def check(self) -> None:
        """Some are kept, and none dropped, which would cost less."""
        assert self.describe().counters["kept"] > 0
        assert self.dropped == 0


class Meter:
    """Counts what a service works on, after `begin`; `clock` tells the seconds of CPU that it has taken."""

    def __init__(self, series: Series, switch: Switch, clock: Callable[[], float]) -> None:
        self._series, self._switch, self._clock = series, switch, clock
        self.noted: list[Noted] = []  # of whole turns, and of one that has begun
        self._noting = False
        self._came, self._from = 0, 0.0
        self._since: int | None = None  # so many had come when the window began to count
        self._writing: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """From here on, with a new turn; of one that had begun nothing counts."""
        del self.noted[len(self.noted) - len(self.noted) % len(self._series.windows()) :]
        # What waits to be written is of before, and is written first.
        self._windows = chain([Window(Mode.NONE, writes=True)], cycle(self._series.windows()))
        self._noting = False
        self._next()

    def count(self, number: int = 1) -> None:
        """So many were worked on."""
        self._came += number
        if self._since is None:
            self._settle()
        elif self._came - self._since >= self._series.size and (self._writing is None or self._writing.done()):
            if self._writing is not None:
                self._writing.result()
            if self._noting:
                self.noted.append(Noted((self._clock() - self._from) * 1e6, self._came - self._since))
            self._noting = True
            self._next()

    def _settle(self) -> None:
        if self._came >= self._series.settling:
            self._since, self._from = self._came, self._clock()
            if self._window.writes:
                self._writing = asyncio.create_task(Keeper.it.flush())

    def _next(self) -> None:
        self._came, self._since, self._writing = 0, None, None
        self._window: Window = next(self._windows)
        self._switch.to(self._window.mode)
        self._settle()
