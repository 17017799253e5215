# SPDX-License-Identifier: Apache-2.0
"""How far a version has come on its way to what its sources held when it began: until then its views are not all there."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from nerv.kafka import BatchConsumer
from nerv.protocols.views import Cursor, Epoch, Views
from nerv_projector.sources import Sources
from nerv_projector.watermarks import Watermarks

Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Way:
    """What of the way is done, in offsets of the sources."""

    done: int
    total: int

    @property
    def percent(self) -> int:
        """Whole ones, 100 only at the end."""
        return 100 if self.done >= self.total else 100 * self.done // self.total


class Rebuilding:
    """Watches one epoch of a version until it has caught up. `folded`: the topic that is folded, a source itself or rekeyed."""

    def __init__(self, epoch: Epoch, views: Views, watermarks: Watermarks, sources: Sources, folded: str) -> None:
        self.epoch, self.ready = epoch, False
        self.way = Way(0, 1)
        self._views, self._watermarks = views, watermarks
        self._sources, self._folded = sources, folded
        self._straight = sources.topics == (folded,)
        self._target: Offsets | None = None  # where a rekeyed topic ended when all of the way had been rekeyed
        self._first: tuple[float, int] | None = None

    async def look(self, rekeyer: BatchConsumer | None) -> bool:
        """Whether it has caught up; once it has it stays so. `rekeyer` is of the group that rekeys, if there is one.

        Raises what Kafka or Redis met.
        """
        if self.ready:
            return True
        cursors = (await self._views.progress(self.epoch)).cursors
        folded = {p: Cursor.from_bytes(stored).next_offset for p, stored in cursors.items()}
        if self._straight:
            self._note(folded)
        elif rekeyer is not None:
            place, first = self._sources.place, self.epoch.first
            committed = await rekeyer.committed(list(map(place, self.epoch.goal)))
            self._note({number: committed.get(place(number), start) for number, start in first.items()})
            if self.way.percent == 100 and self._target is None:
                self._target = {p: high for p, (_, high) in (await self._watermarks.bounds(self._folded)).items()}
        target = self.epoch.goal if self._straight else self._target
        self.ready = target is not None and all(folded.get(p, -1) >= offset for p, offset in target.items())
        return self.ready

    def seconds_left(self) -> float | None:
        """At the pace since this replica first looked; None where there is none yet."""
        if self.ready:
            return 0.0
        if self._first is None or self.way.done <= self._first[1]:
            return None
        pace = (self.way.done - self._first[1]) / (time.monotonic() - self._first[0])
        return (self.way.total - self.way.done) / pace

    def _note(self, reached: Offsets) -> None:
        epoch = self.epoch
        done = sum(min(reached.get(p, 0), goal) - epoch.first.get(p, 0) for p, goal in epoch.goal.items())
        self.way = Way(max(0, done), sum(goal - epoch.first.get(p, 0) for p, goal in epoch.goal.items()))
        if self._first is None:
            self._first = time.monotonic(), self.way.done
