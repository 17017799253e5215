# SPDX-License-Identifier: Apache-2.0
"""The meter of suite *telemetry* notes whole windows, each in its mode."""

import asyncio
import time

from bench.telemetry.meter import Keeper, Meter
from bench.telemetry.modes import Mode, Switch
from bench.telemetry.windows import Series
from nerv.redis import RedisSettings, connect
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.telemetry.spans.recent import Recent
from nerv.telemetry.spans.store import SpanStore

SERIES = Series((Mode.NONE, Mode.OFF), rounds=2, settling=10, size=30)


class Noting(Switch):
    """Keeps the modes that it was asked for, and leaves the process as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[Mode] = []

    def to(self, mode: Mode) -> None:
        """Note it."""
        self.modes.append(mode)


async def test_windows_follow_each_other() -> None:
    """The first writes what is of before, and does not count; what begins anew drops a turn that had begun, and keeps others."""
    bounds = SpanSettings()
    # Nothing waits to be written, so that nobody connects to this Redis.
    Keeper.it = Keeper(Recent(10), SpanStore(connect(RedisSettings(url="redis://127.0.0.1:1"), "bench"), "m", bounds))
    switch = Noting()
    meter = Meter(SERIES, switch, time.process_time)

    async def work(windows: int) -> None:
        """In fours: a window is the 10th to the 42nd after the one before."""
        for _ in range(windows * 11):
            meter.count(4)
            await asyncio.sleep(0)

    meter.begin()
    await work(1)
    assert (len(meter.noted), switch.modes) == (0, [Mode.NONE, Mode.NONE])
    await work(len(SERIES.windows()) + 2)
    assert [one.number for one in meter.noted] == [32] * 9
    assert switch.modes[1:8] == [Mode.NONE, Mode.OFF, Mode.NONE, Mode.OFF, Mode.NONE, Mode.NONE, Mode.NONE]
    whole = meter.noted[:7]
    meter.begin()
    assert meter.noted == whole
    await work(2)
    assert len(meter.noted) == 8
    assert switch.modes[-3:] == [Mode.NONE, Mode.NONE, Mode.OFF]
