# SPDX-License-Identifier: Apache-2.0
"""The meter of suite *telemetry* notes whole windows, each in its mode; a process goes from mode to mode."""

import asyncio
import time
from types import ModuleType

import pytest

from bench.telemetry.meter import Keeper, Meter
from bench.telemetry.modes import Mode, Switch
from bench.telemetry.windows import Series
from nerv.telemetry import batches, tracing
from nerv.telemetry.sampling import Sampling

SERIES = Series((Mode.NONE, Mode.OFF), rounds=2, settling=10, size=30)
NONE, OFF = Mode.NONE, Mode.OFF


class Noting(Switch):
    """Keeps the modes that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[Mode] = []

    def to(self, mode: Mode) -> None:
        """Note it."""
        self.modes.append(mode)


class Slow(Keeper):
    """Has nowhere to write to. From one call on, it takes until it may go on."""

    def __init__(self, slow_from: int) -> None:
        self.asked, self.may_end = 0, asyncio.Event()
        self._slow_from = slow_from

    async def flush(self) -> None:
        """Count it."""
        self.asked += 1
        if self.asked >= self._slow_from:
            await self.may_end.wait()


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is changed of the process is put back."""
    monkeypatch.setattr(Keeper, "it", None, raising=False)
    monkeypatch.setattr(batches, "_budget", batches._budget)
    monkeypatch.setattr(tracing, "_sampling", None)


async def work(meter: Meter, windows: int) -> None:
    """In fours: 12 settle, and the window is the 32 after them."""
    for _ in range(windows * 11):
        meter.count(4)
        await asyncio.sleep(0)


async def test_windows_follow_each_other() -> None:
    """The first one, in which is written what is of before, does not count; nor does a turn that was begun and not ended."""
    keeper = Keeper.it = Slow(slow_from=9)
    switch = Noting()
    meter = Meter(SERIES, switch, time.process_time)
    meter.begin()
    await work(meter, 1)
    assert (keeper.asked, len(meter.noted), switch.modes) == (1, 0, [NONE, NONE])
    await work(meter, len(SERIES.windows()) + 2)
    assert (keeper.asked, [one.number for one in meter.noted]) == (2, [32] * 9)
    assert switch.modes[1:8] == [NONE, OFF, NONE, OFF, NONE, NONE, NONE]
    whole = meter.noted[:7]
    meter.begin()
    assert meter.noted == whole
    await work(meter, 2)
    assert (len(meter.noted), switch.modes[-3:]) == (8, [NONE, NONE, OFF])


async def test_a_window_in_which_spans_are_written_lasts_until_they_are() -> None:
    """All that this takes is in it."""
    keeper = Keeper.it = Slow(slow_from=2)
    meter = Meter(Series((NONE,), rounds=1, settling=0, size=4), Noting(), time.process_time)
    meter.begin()
    await work(meter, 2)
    assert [one.number for one in meter.noted] == [4, 4]
    keeper.may_end.set()
    await work(meter, 1)
    assert [one.number > 60 for one in meter.noted[:4]] == [False, False, True, False]


def test_a_process_goes_from_mode_to_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls are out, and back; traces are saved up only while some are taken."""
    module = ModuleType("module")
    module.span = kept = object()  # type: ignore[attr-defined]
    switch = Switch(module)
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for mode, sampling in ((NONE, None), (Mode.HUNDREDTH, Sampling(0.01)), (OFF, None), (Mode.ALL, Sampling(1.0))):
        switch.to(mode)
        assert (module.span is kept, tracing._sampling) == (mode is not NONE, sampling)
        now += 0.25
    switch.to(NONE)
    now += 5.0
    switch.to(Mode.ALL)
    assert batches._budget.left() == 2 * 0.25 * batches.A_SECOND
