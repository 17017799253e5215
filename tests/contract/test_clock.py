# SPDX-License-Identifier: Apache-2.0
"""The port `Clock`: the system's, and the one that tests move."""

from datetime import timedelta

import pytest

from nerv.clock import SystemClock
from nerv.errors import Invalid
from nerv.history.memory import MemoryHistory
from nerv.protocols import Appended, AppendRequest, Clock
from nerv.testing.clock import ManualClock
from nerv.testing.contracts.clock import ClockContract
from nerv.testing.contracts.history import fresh, made


class TestSystemClock(ClockContract):
    """The system's clock keeps the contract."""

    @pytest.fixture
    def clock(self) -> Clock:
        """This machine's."""
        return SystemClock()


class TestManualClock(ClockContract):
    """The clock of tests keeps the contract, and moves only when told."""

    @pytest.fixture
    def clock(self) -> Clock:
        """One that stands still."""
        return ManualClock()

    def test_both_times_go_on_together(self) -> None:
        """A wall clock that is set back takes monotonic time along nowhere."""
        clock = ManualClock()
        before = clock.now()
        clock.advance(1.5)
        assert (clock.now() - before, clock.monotonic()) == (timedelta(seconds=1.5), 1.5)
        clock.set_wall(before)
        assert (clock.now(), clock.monotonic()) == (before, 1.5)
        with pytest.raises(Invalid):
            clock.advance(-1)


async def test_recorded_time_grows_although_the_wall_clock_is_set_back() -> None:
    """History does not believe a clock that goes back: record time is monotone (rule 8)."""
    clock = ManualClock()
    history, stream = MemoryHistory(clock), fresh()
    times = []
    for _ in range(3):
        [done] = await history.append([AppendRequest(stream, [made()])])
        assert isinstance(done, Appended)
        times.append(done.recorded_time)
        clock.set_wall(clock.now() - timedelta(hours=1))
    assert times == sorted(set(times))
