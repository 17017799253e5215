# SPDX-License-Identifier: Apache-2.0
"""How fast a version is folded here, and how old what it folded last is. For people alone: no decision hangs on it."""

import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime

from nerv.types import utc_now

WINDOW_SECONDS = 10.0  # over which a rate is told


class Meter:
    """Counts what was folded, on this replica."""

    def __init__(self) -> None:
        self._turns: deque[tuple[float, int]] = deque()
        self._newest: dict[int, datetime] = {}

    def folded(self, count: int, newest: Mapping[int, datetime]) -> None:
        """So many events are in the views now; of each partition, when the last one was recorded."""
        self._turns.append((time.monotonic(), count))
        self._newest.update(newest)
        self._forget()

    def rate(self) -> float:
        """Events a second, over the last seconds."""
        self._forget()
        return sum(count for _, count in self._turns) / WINDOW_SECONDS

    def seconds_behind(self, partition: int) -> float | None:
        """How long ago the last event that is folded of a partition was recorded; None where none was folded here."""
        newest = self._newest.get(partition)
        return None if newest is None else max(0.0, (utc_now() - newest).total_seconds())

    def _forget(self) -> None:
        while self._turns and self._turns[0][0] < time.monotonic() - WINDOW_SECONDS:
            self._turns.popleft()
