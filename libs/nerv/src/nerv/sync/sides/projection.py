# SPDX-License-Identifier: Apache-2.0
"""The views of a projection that *projector* serves, in a perspective, as a side that is read only."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from nerv.client.views import Views
from nerv.errors import Invalid, NotFound, Unavailable
from nerv.protocols.history import Subscribable
from nerv.protocols.side import Changes, Entity, Position, Row, Step, WriteOutcome
from nerv.protocols.source import Complete
from nerv.sync.errors import LoadRefused
from nerv.sync.sides.feed import HistoryFeed
from nerv.types import Description, utc_now

BATCH = 1000  # views that `load` gives at a time
SETTLE_SECONDS = 30.0  # for the views to show what history holds
LOOK_SECONDS = 0.05


class ProjectionSide:
    """What a kind of reader sees of each state of a projection of the mesh; rows are as the perspective shows them.

    With its `history` (the client's streams) a projection that folds streams of its own has a feed: the streams that had events
    since, once the views show them. A projection that is built anew is another feed.
    """

    writable = False

    def __init__(
        self, views: Views, projection: str, *, perspective: str | None = None, history: Subscribable | None = None
    ) -> None:
        self.name = projection
        self._views, self._perspective, self._history = views, perspective, history
        self._read = 0

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every view (see `Side.load`). Raises LoadRefused for a projection that was built anew meanwhile."""
        before = await self._settled()
        count, batch = 0, list[Entity]()
        async for view in self._views.list(self.name, perspective=self._perspective):
            if view["state"] is None:
                continue
            batch.append(_entity(view))
            if len(batch) == BATCH:
                count += len(batch)
                yield batch
                batch = []
        if batch:
            count += len(batch)
            yield batch
        if (await self._row())["epoch"] != before["epoch"]:
            raise LoadRefused(f"projection {self.name} was built anew while it was read; run it again")
        self._read += count
        yield Complete(count, utc_now())

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The views of these keys as they are now."""
        found = await self._views.many(self.name, keys, perspective=self._perspective)
        self._read += len(keys)
        return [_entity(found[key]) if key in found else Entity(key, None) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """The keys of streams that had events, which the views show by now (see `Side.changes`). Raises Unavailable."""
        row = await self._row()
        if self._history is None or row["source"] != "history":
            return None
        feed = HistoryFeed(self._history, row["category"])
        known = None if after is None else Position(after.epoch.partition(" ")[2], after.sequence)
        told = await feed.since(known)
        settled = await self._settled()
        if told is None or (after is not None and after.epoch.partition(" ")[0] != settled["epoch"]):
            return None
        return Changes(told.keys, Position(f"{settled['epoch']} {told.position.epoch}", told.position.sequence))

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Refused: a view follows from its events."""
        return [Invalid(f"{self.name} is a view, which is only read; write to its streams instead")] * len(steps)

    def describe(self) -> Description:
        """The side as data."""
        inputs = (self._perspective or self.name,)
        return Description("ProjectionSide", self.name, inputs, counters={"read": self._read})

    async def _settled(self) -> dict[str, Any]:
        """The projection, once its views show all that history holds."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while (row := await self._row())["lag"] != 0:  # noqa: ASYNC110 - another process folds
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise Unavailable(
                f"projection {self.name} has not caught up with history within {SETTLE_SECONDS:g} s", retry_after=5.0
            ) from None
        return row

    async def _row(self) -> dict[str, Any]:
        for row in await self._views.projections():
            if row["projection"] == self.name:
                return row
        raise NotFound(f"the mesh has no projection {self.name}")


def _entity(view: dict[str, Any]) -> Entity:
    row: Row | None = view["state"]
    return Entity(view["key"], row, view["version"])
