# SPDX-License-Identifier: Apache-2.0
"""The system's clock, and a hybrid logical clock over any clock."""

import time
from datetime import UTC, datetime

from nerv.errors import Invalid
from nerv.protocols.clock import Clock
from nerv.types.stamp import Stamp

DRIFT_SECONDS = 3600.0  # that another clock may be ahead; a stamp from beyond it would draw every later one after it


class SystemClock:
    """Wall and monotonic time of this machine."""

    def now(self) -> datetime:
        """The instant, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class HybridClock:
    """Stamps that follow the wall clock and never go back; each is greater than all that were given or received before."""

    def __init__(self, node: str, clock: Clock | None = None, *, drift_seconds: float = DRIFT_SECONDS) -> None:
        self.node = node
        self._clock = clock or SystemClock()
        self._drift_us = round(drift_seconds * 1_000_000)
        self._last = Stamp(0)

    def now(self) -> Stamp:
        """The stamp of a write that happens now."""
        wall = Stamp.of(self._clock.now()).wall_us
        last = self._last
        self._last = (
            Stamp(wall, 0, self.node) if wall > last.wall_us else Stamp(last.wall_us, last.counter + 1, self.node)
        )
        return self._last

    def receive(self, stamp: Stamp) -> None:
        """Let every later stamp be greater than this one. Raises Invalid when it is too far ahead of the wall clock."""
        ahead = stamp.wall_us - Stamp.of(self._clock.now()).wall_us
        if ahead > self._drift_us:
            raise Invalid(
                f"stamp {stamp} is {ahead / 1e6:.0f} s ahead of the clock of {self.node or 'this node'}, more than "
                f"{self._drift_us / 1e6:.0f} s; set the clocks right, or raise drift_seconds"
            )
        if stamp > self._last:
            self._last = Stamp(stamp.wall_us, stamp.counter, self.node)
