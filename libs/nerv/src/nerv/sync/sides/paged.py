# SPDX-License-Identifier: Apache-2.0
"""A system that gives its rows page by page, as a side: the base of the sources of SQL and HTTP, and of an app's own."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from nerv.errors import Invalid, NervError, Unavailable
from nerv.perspectives import Perspective
from nerv.protocols.side import Changes, Entity, Position, Row, Step, WriteOutcome
from nerv.protocols.source import Complete
from nerv.sync.errors import LoadRefused
from nerv.sync.reading import MAX_FAULTS, Fault, FaultyRow, Model, fault, read_row, refuse
from nerv.sync.schema import Schema, WholeRow, key_of
from nerv.types import Description, utc_now

T = TypeVar("T")

TRIES = 5  # of one page, before a load is given up
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds between them, unless the system says how long
PAGES = 1_000_000  # of a load: a system that never comes to an end is not followed for ever


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the cursor of the next page: whatever the system goes on by, and None only when this was the last."""

    rows: Sequence[Mapping[str, Any]]
    next: Any = None


class PagedSource(ABC):
    """Set the class attributes and write `page`; a system with point reads or writes has `fetch` and `write` besides.

    `category` names the rows (and the side), `key` the column or columns that tell them apart. With `row`, a perspective or
    another pydantic model, each row is validated by it; a perspective says by `schema` what is compared, too. A page that
    cannot be had is asked for again, from where the load stands, before the load is given up.
    """

    category: ClassVar[str]
    key: ClassVar[str | tuple[str, ...]]
    row: ClassVar[Model | None] = None
    limit: ClassVar[int] = 10_000_000  # rows
    writable: bool = False

    def __init__(self) -> None:
        self._read = self._resumed = self._loads = 0
        self._kept: dict[str, Entity] = {}
        self._keeps = type(self).fetch is PagedSource.fetch

    @abstractmethod
    async def page(self, cursor: Any) -> Page:
        """The page of a cursor; of None the first. Raises Unavailable for one that may be had later, LoadRefused for others."""

    @property
    def name(self) -> str:
        """What people and plans call it."""
        return self.category

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The columns that tell rows apart."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def schema(self) -> Schema:
        """How its rows are compared: the diffing schema of the perspective `row`, or every value."""
        if self.row is not None and issubclass(self.row, Perspective):
            return self.row.diff_schema()
        return WholeRow(self.category, self.identifiers)

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every row, page by page (see `Side.load`). Raises LoadRefused, Unavailable."""
        kept: dict[str, Entity] = {}
        count, cursor = 0, None
        for number in range(1, PAGES + 1):
            page = await self._page(cursor)
            entities = self.entities(page.rows, f"page {number}")
            count += len(entities)
            if count > self.limit:
                raise LoadRefused(f"{self.name} has more than {self.limit} rows; raise its `limit` if that is right")
            if self._keeps:
                kept.update((entity.key, entity) for entity in entities)
            if entities:
                yield entities
            if page.next is None:
                break
            if page.next == cursor:
                raise LoadRefused(f"{self.name}: page {number} names itself as the next; nothing was changed")
            cursor = page.next
        else:
            raise LoadRefused(f"{self.name} does not come to an end; {PAGES} pages were read")
        self._kept = kept
        self._loads += 1
        yield Complete(count, utc_now())

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The rows of these keys, of the latest load."""
        return [self._kept.get(key) or Entity(key, None) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """None: unless a subclass knows better, such a system has no feed."""
        return None

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Refused, unless a subclass can."""
        return [Invalid(f"{self.name} is only read; sync in the other direction")] * len(steps)

    def entities(self, rows: Sequence[Mapping[str, Any]], place: str) -> list[Entity]:
        """Rows as objects, each under its key. Raises LoadRefused with all that is wrong with them."""
        found: list[Entity] = []
        faults: list[Fault] = []
        for number, raw in enumerate(rows, start=1):
            try:
                found.append(self.entity(raw))
            except FaultyRow as faulty:
                faults += [fault(f"{place} row {number}", *one) for one in faulty.faults]
                if len(faults) >= MAX_FAULTS:
                    break
        refuse(faults)
        self._read += len(found)
        return found

    def entity(self, raw: Mapping[str, Any]) -> Entity:
        """A row as an object. Raises FaultyRow."""
        row, _ = read_row(self.row, raw)
        return Entity(self.key_of(row), row)

    def key_of(self, row: Row) -> str:
        """The key of a row. Raises FaultyRow."""
        try:
            return key_of(self.identifiers, row)
        except Invalid as error:
            raise FaultyRow([(", ".join(self.identifiers), error.detail)]) from None

    def describe(self) -> Description:
        """The side as data. `read` counts rows, `resumed` pages that had to be asked for again."""
        counters = {"read": self._read, "resumed": self._resumed, "loads": self._loads}
        return Description(type(self).__name__, self.name, counters=counters)

    async def _page(self, cursor: Any) -> Page:
        return await self._tried(lambda: self.page(cursor))

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T:
        """What can be had later is asked for again, a few times."""
        pause = FIRST_PAUSE
        for _ in range(TRIES - 1):
            try:
                return await work()
            except Unavailable as error:
                self._resumed += 1
                await asyncio.sleep(min(error.retry_after or pause * random.uniform(0.5, 1.0), LONGEST_PAUSE))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
        return await work()


def refused(steps: Sequence[Step], error: NervError) -> list[WriteOutcome]:
    """The same outcome for each."""
    return [error] * len(steps)
