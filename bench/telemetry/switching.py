# SPDX-License-Identifier: Apache-2.0
"""The broker, which goes through the windows of a series (BENCH_SERIES, by name) while it is under load.

With SIGUSR1 it begins to; with SIGUSR2 it writes into the file BENCH_NOTED what it has noted of each window: microseconds of CPU,
and how many requests came.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import nerv.service.http
import nerv_broker.publishing.owner
import nerv_broker.publishing.taking
from bench.telemetry.meter import Keeper, Meter
from bench.telemetry.modes import Switch
from bench.telemetry.windows import SERIES
from nerv.service import run
from nerv.service.http import Door
from nerv_broker.app import build
from nerv_broker.settings import BrokerSettings

NAME, FILE = "BENCH_SERIES", "BENCH_NOTED"


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
        switch = Switch(nerv.service.http, nerv_broker.publishing.owner, nerv_broker.publishing.taking)
        meter = Meter(SERIES["broker"][os.environ[NAME]], switch, time.process_time)
        meter.begin()

    def end(*_: object) -> None:
        assert meter is not None
        Keeper.it.check()
        file = Path(os.environ[FILE])
        partly = file.with_suffix(".part")
        partly.write_text("\n".join(f"{one.cpu} {one.number}" for one in meter.noted))
        partly.rename(file)

    door.__call__ = counted
    Keeper.take_over()
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    run("broker", BrokerSettings, build)


if __name__ == "__main__":
    main()
