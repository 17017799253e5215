# SPDX-License-Identifier: Apache-2.0
"""When the next event of a replay is due: at a rate, or at a multiple of the pace at which the events happened. Pure."""

from dataclasses import dataclass
from datetime import datetime

AHEAD_SECONDS = 0.02  # events that are due within this time go together
LONGEST_GAP = 3600.0  # seconds that a replay waits for one event at most: a gap of years is not waited for


@dataclass(frozen=True, slots=True)
class Pace:
    """At most `rate` events a second, or `speed` times as fast as they happened; neither is as fast as can be."""

    rate: float | None = None
    speed: float | None = None


class Pacer:
    """Says how long to wait before each event. Instants are monotonic seconds."""

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        self._due = now
        self._happened: datetime | None = None

    def wait(self, happened: datetime, now: float) -> float:
        """Seconds to wait before an event that happened at this instant; 0 when it is due within the next 20 ms."""
        if self._pace.rate is None and self._pace.speed is None:
            return 0.0
        step = 0.0
        if self._happened is not None:
            gap = (happened - self._happened).total_seconds()
            step = (
                1.0 / self._pace.rate
                if self._pace.rate
                else min(max(gap, 0.0) / (self._pace.speed or 1.0), LONGEST_GAP)
            )
        # Somebody who was slow for a while does not get all that he missed at once.
        self._due = max(self._due + step, now - AHEAD_SECONDS)
        self._happened = happened if self._happened is None else max(happened, self._happened)
        left = self._due - now
        return left if left > AHEAD_SECONDS else 0.0
