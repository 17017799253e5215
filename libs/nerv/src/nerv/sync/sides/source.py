# SPDX-License-Identifier: Apache-2.0
"""A source of rows (`CsvSource`, `RowsSource`) as a side that is read only, whole, and proven complete."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice

import orjson

from nerv.errors import Invalid
from nerv.protocols.side import Changes, Entity, Position, Step, WriteOutcome
from nerv.protocols.source import Complete, Row, Source
from nerv.sync.loading import Check, Loaded, go_on, load_whole
from nerv.types import Description, Stamp

BATCH = 1000  # rows that `load` gives at a time
ROWS = 1_000_000  # of a source, unless another bound is given

Run = Callable[[Callable[[Check], Loaded]], Awaitable[Loaded]]
"""Runs what blocks, in a thread; the work calls the check again and again, which raises when it is to stop."""


async def in_thread(work: Callable[[Check], Loaded]) -> Loaded:
    """Run it in a thread of the event loop's pool."""
    return await asyncio.to_thread(work, go_on)


class SourceSide:
    """A source. Its rows are those of the latest load, all as of one instant, which is when they became so for all we know."""

    writable = False

    def __init__(self, source: Source, *, limit: int = ROWS, run: Run = in_thread) -> None:
        self.name = source.category
        self._source = source
        self._limit = limit
        self._run = run
        self._rows: dict[str, Row] = {}
        self._stamp: Stamp | None = None
        self._loads = 0

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every row, after all were read (see `Side.load`). Raises LoadRefused, TooLarge."""
        loaded = await self._run(lambda check: load_whole(self._source, self._limit, check))
        self._rows, self._stamp = loaded.rows, Stamp.of(loaded.instant)
        self._loads += 1
        pending = iter(loaded.rows.values())
        while chunk := list(islice(pending, BATCH)):
            yield [self._entity(row) for row in chunk]
        yield Complete(len(loaded.rows), loaded.instant)

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The rows of these keys, of the latest load."""
        return [self._entity(self._rows[key]) if key in self._rows else Entity(key, None) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """A source has no feed: None."""
        return None

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Refused: a source is read only."""
        return [Invalid(f"{self.name} is a source, which is only read; sync in the other direction")] * len(steps)

    def describe(self) -> Description:
        """The side as data."""
        counters, source = {"held": len(self._rows), "loads": self._loads}, self._source.describe()
        return Description("SourceSide", self.name, source.inputs, counters=counters, parts=(source,))

    def _entity(self, row: Row) -> Entity:
        return Entity(row.key, orjson.loads(row.content), None, self._stamp)
