# SPDX-License-Identifier: Apache-2.0
"""Into how many parts a list is divided, pure: by what an item of it has taken so far, measured while parts run."""

import math
from dataclasses import dataclass

from nerv.partition.tuning import PARTS_PER_WORKER, SPLIT_OVER
from nerv_scheduler.fusing import Fusing

ITEM = "/item"  # the kind of one item of a task; no task has such a name beside one without


@dataclass(frozen=True, slots=True)
class Division:
    """A list of `items` in `parts`. `seconds` are those of an item, as far as they were known; None: not at all."""

    items: int
    parts: int
    seconds: float | None


class Splitting:
    """Decides. `slots` are the places of a replica."""

    def __init__(self, fusing: Fusing, slots: int) -> None:
        self._fusing = fusing
        self._slots = slots

    def divide(self, task: str, items: int, most: int) -> Division:
        """As few parts as last for about a target each, and at most some for each place; one a place while nothing is known."""
        seconds = self._fusing.known(task + ITEM)
        if seconds is None:
            return Division(items, min(items, most, self._slots), None)
        target, whole = self._fusing.target, items * seconds
        if not target or whole <= SPLIT_OVER * target:
            return Division(items, min(items, most, 1), seconds)
        return Division(items, min(items, most, PARTS_PER_WORKER * self._slots, math.ceil(whole / target)), seconds)

    def note(self, task: str, items: int, seconds: float) -> None:
        """A part of so many items has taken so long."""
        if items:
            self._fusing.note(task + ITEM, seconds / items)
