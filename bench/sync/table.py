# SPDX-License-Identifier: Apache-2.0
"""A side over rows that are made when they are asked for, with a change feed."""

from collections.abc import AsyncIterator, Iterable, Sequence

from bench.sync.rows import key_of, row_of
from nerv.errors import Invalid
from nerv.protocols.side import Changes, Entity, Position, Step, WriteOutcome
from nerv.protocols.source import Complete
from nerv.sync.sides import ChangeLog
from nerv.types import Description, utc_now

BATCH = 1000


class Table:
    """So many planes; some of them in another edition."""

    writable = True

    def __init__(self, name: str, count: int, editions: dict[int, int] | None = None) -> None:
        self.name = name
        self.read = 0
        self._count = count
        self._editions = editions or {}
        self._feed = ChangeLog()

    def edit(self, numbers: Iterable[int], edition: int) -> None:
        """Change these planes."""
        changed = dict.fromkeys(numbers, edition)
        self._editions |= changed
        self._feed.note(map(key_of, changed))

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every plane."""
        edition_of = self._editions.get
        for start in range(0, self._count, BATCH):
            numbers = range(start, min(start + BATCH, self._count))
            rows = [row_of(number, edition_of(number, 0)) for number in numbers]
            self.read += len(rows)
            yield [Entity(row["tailnum"], row) for row in rows]
        yield Complete(self._count, utc_now())

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """These planes."""
        return [self._entity(int(key[1:])) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """What was edited."""
        return self._feed.since(after)

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Refused: only the diff is measured."""
        return [Invalid("only the diff is measured")] * len(steps)

    def describe(self) -> Description:
        """The table as data."""
        return Description("Table", self.name)

    def _entity(self, number: int) -> Entity:
        self.read += 1
        edition = self._editions.get(number, 0)
        row = row_of(number, edition)
        return Entity(row["tailnum"], row)
