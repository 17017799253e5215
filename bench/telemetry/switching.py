# SPDX-License-Identifier: Apache-2.0
"""The broker, which goes through the windows of a series (BENCH_SERIES, by name) while it is under load.

With SIGUSR1 it begins to; with SIGUSR2 it writes into the file BENCH_NOTED what it has noted of each window: microseconds of CPU,
and how many requests came.
"""

import asyncio
import os
import signal
import time
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import nerv.service.http
import nerv.telemetry.spans.keeper as keeping
import nerv_broker.publishing.owner
import nerv_broker.publishing.taking
from bench.telemetry.modes import Hooks, switch
from bench.telemetry.windows import FILE, NAME, SERIES, SETTLING, WINDOW, Noted, Series, Window
from nerv.service import run
from nerv.service.http import Door
from nerv_broker.app import build
from nerv_broker.settings import BrokerSettings


class Keeper(keeping.Keeper):
    """Writes spans when it is asked to, and not by itself."""

    it: "Keeper"

    async def __aenter__(self) -> Self:
        """It can be asked from now on."""
        Keeper.it = self
        return await super().__aenter__()


class Meter:
    """Counts requests, and what they take."""

    def __init__(self, series: Series, hooks: Hooks) -> None:
        self._windows, self._hooks = cycle(series.windows()), hooks
        self.noted: list[Noted] = []
        self._writing: asyncio.Task[None] | None = None
        self._next()

    def count(self) -> None:
        """One has come."""
        self._came += 1
        if self._came == SETTLING:
            self._from = time.process_time()
            if self._window.writes:
                self._writing = asyncio.create_task(Keeper.it.flush())
        elif self._came >= SETTLING + WINDOW and (self._writing is None or self._writing.done()):
            if self._writing is not None:
                self._writing.result()
            self.noted.append(Noted((time.process_time() - self._from) * 1e6, self._came - SETTLING))
            self._next()

    def _next(self) -> None:
        self._came, self._from, self._writing = 0, 0.0, None
        self._window: Window = next(self._windows)
        switch(self._window.mode, self._hooks)


def main() -> None:
    """Serve."""
    meter: Meter | None = None
    door: Any = Door
    answer = door.__call__

    async def counted(*told: Any) -> None:
        if meter is not None:
            meter.count()
        await answer(*told)

    def begin(*_: object) -> None:
        nonlocal meter
        hooks = Hooks(nerv.service.http, nerv_broker.publishing.owner, nerv_broker.publishing.taking)
        meter = Meter(SERIES[os.environ[NAME]], hooks)

    def end(*_: object) -> None:
        assert meter is not None
        assert Keeper.it.describe().counters["kept"] > 0
        assert Keeper.it.dropped == 0, "what is dropped costs less"
        file = Path(os.environ[FILE])
        partly = file.with_suffix(".part")
        partly.write_text("\n".join(f"{one.cpu} {one.requests}" for one in meter.noted))
        partly.rename(file)

    door.__call__ = counted
    keeping.Keeper, keeping.EVERY_SECONDS = Keeper, 3600.0  # type: ignore[misc]
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    run("broker", BrokerSettings, build)


if __name__ == "__main__":
    main()
