# SPDX-License-Identifier: Apache-2.0
"""Time as a port, so that a test can hold it still."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic seconds for time-outs. No decision hangs on the former (rule 8).

    Implemented by `nerv.clock.SystemClock`, and by `nerv.testing.clock.ManualClock`, which stands still until it is told.
    """

    def now(self) -> datetime:
        """The instant, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...
