# SPDX-License-Identifier: Apache-2.0
"""The views of a state projector, in a perspective, as a side that is read only."""

from collections.abc import AsyncIterator, Sequence
from itertools import islice
from typing import Any

from nerv.errors import Invalid, NotFound
from nerv.perspectives import Perspective
from nerv.projections.projector import StateProjector
from nerv.protocols import History, ReadQuery
from nerv.protocols.side import Changes, Entity, Position, Step, WriteOutcome
from nerv.protocols.source import Complete
from nerv.sync.sides.feed import ChangeLog
from nerv.types import Description, Stamp, entity_of, utc_now

BATCH = 1000  # views that `load` gives at a time


class ViewSide:
    """What a kind of reader sees of each state of a projection. A `feed` is told the keys that `StateProjector.take` changes."""

    writable = False

    def __init__(
        self,
        projector: StateProjector[Any],
        history: History,
        perspective: type[Perspective],
        *,
        feed: ChangeLog | None = None,
    ) -> None:
        if projector.projection.rekeyed:
            raise Invalid(f"projection {projector.projection.name} is rekeyed; in one process it has no views to sync")
        self.name = projector.projection.name
        self._projector, self._history, self._perspective = projector, history, perspective
        self._feed = feed

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """The view of every entity that has a state (see `Side.load`)."""
        projection, count = self._projector.projection, 0
        query = ReadQuery(types=projection.types)
        streams = {event.stream async for event in self._history.read_category(projection.spec.category, query)}
        pending = iter(sorted(streams))
        while chunk := list(islice(pending, BATCH)):
            found = [one for one in await self.fetch([entity_of(stream) for stream in chunk]) if one.row is not None]
            count += len(found)
            yield found
        yield Complete(count, utc_now())

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The views of these keys as they are now. Raises what the fold or the perspective does."""
        return [await self._view(key) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """What the feed was told (see `Side.changes`); None without one."""
        return None if self._feed is None else self._feed.since(after)

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Refused: a view follows from its events."""
        return [Invalid(f"{self.name} is a view, which is only read; write to its streams instead")] * len(steps)

    def describe(self) -> Description:
        """The side as data."""
        return Description("ViewSide", self.name, (self._perspective.__name__,), parts=(self._projector.describe(),))

    async def _view(self, key: str) -> Entity:
        try:
            found = await self._projector.state(key)
        except NotFound:
            return Entity(key, None)
        row = None if found.state is None else self._perspective.diff_row(found.state)
        stamp = None if found.time is None else Stamp.of(found.time)
        return Entity(key, row, int(found.version), stamp)
