# SPDX-License-Identifier: Apache-2.0
"""A clock that a test moves."""

from datetime import UTC, datetime, timedelta

from nerv.errors import Invalid


class ManualClock:
    """`nerv.protocols.Clock` that stands still until `advance` is called."""

    def __init__(self, start: datetime = datetime(2013, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        """The instant, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let both times go on. Raises Invalid for a negative number."""
        if seconds < 0:
            raise Invalid("time does not go back; set the wall clock with `set_wall`")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set_wall(self, now: datetime) -> None:
        """Set the wall clock, also back, as a correction does; monotonic time does not notice."""
        self._now = now
