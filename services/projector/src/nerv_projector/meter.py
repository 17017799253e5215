# SPDX-License-Identifier: Apache-2.0
"""How fast a replica folds, how far behind the present it is, and what it could not fold."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from datetime import datetime

from nerv.types import utc_now

WINDOW_SECONDS = 10.0  # over which a rate is told


class Meter:
    """Counts what was folded, on this replica."""

    def __init__(self) -> None:
        self._turns: deque[tuple[float, Mapping[int, int]]] = deque()
        self._newest: dict[int, datetime] = {}
        self._errors: Counter[int] = Counter()

    def folded(self, counts: Mapping[int, int], newest: Mapping[int, datetime]) -> None:
        """So many events of each partition are in the views now; when the last one of each was recorded."""
        self._turns.append((time.monotonic(), counts))
        self._newest.update(newest)
        self._forget()

    def failed(self, partitions: Iterable[int]) -> None:
        """An event of each of these went to the dead letters."""
        self._errors.update(partitions)

    def rate(self, partition: int | None = None) -> float:
        """Events a second, of a partition or of all, over the last seconds."""
        self._forget()
        counts = (sum(found.values()) if partition is None else found.get(partition, 0) for _, found in self._turns)
        return sum(counts) / WINDOW_SECONDS

    def errors(self, partition: int) -> int:
        """Events of a partition that went to the dead letters, since this replica started."""
        return self._errors[partition]

    def seconds_behind(self, partition: int) -> float | None:
        """How long ago the last event that is folded of a partition was recorded; None where none was folded here."""
        newest = self._newest.get(partition)
        return None if newest is None else max(0.0, (utc_now() - newest).total_seconds())

    def _forget(self) -> None:
        while self._turns and self._turns[0][0] < time.monotonic() - WINDOW_SECONDS:
            self._turns.popleft()
