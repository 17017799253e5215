# SPDX-License-Identifier: Apache-2.0
"""Which objects a sync is about: the others are neither compared nor written nor deleted, on either side."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nerv.errors import Invalid
from nerv.protocols.side import Changes, Entity, Position, Row, Side, Step, WriteOutcome
from nerv.protocols.source import Complete
from nerv.types import Description

Allowed = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Scope:
    """Fields with the values that they may have; an object is within if each of its fields has one of them. Without any
    all are within.
    """

    allowed: Allowed = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Scope":
        """Of texts such as `country=NL`; one field given twice may have either value. Raises Invalid."""
        allowed: dict[str, list[Any]] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals or not name:
                raise Invalid(f"{text[:60]!r} is no filter; write field=value, such as country=NL")
            allowed.setdefault(name, []).append(value)
        return cls(allowed)

    def __bool__(self) -> bool:
        return bool(self.allowed)

    def __call__(self, row: Row) -> bool:
        """Whether a row is within. Values are compared as texts, too, so that `seats=100` finds 100."""
        return all(_one_of(row.get(name), values) for name, values in self.allowed.items())


EVERYTHING = Scope()


def _one_of(value: Any, values: Sequence[Any]) -> bool:
    return any(value == one or (value is not None and str(value) == str(one)) for one in values)


class ScopedSide:
    """Another side as its digests see it: without the rows that are out of a scope."""

    def __init__(self, side: Side, scope: Scope) -> None:
        self._side = side
        self._scope = scope
        self.name = side.name
        self.writable = side.writable

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every row that is within; the mark of completeness was held against all of them (see `Side.load`)."""
        given = count = 0
        async for batch in self._side.load():
            if isinstance(batch, Complete):
                # What the side has not given counts as missing still.
                yield Complete(batch.rows - given + count, batch.instant)
                continue
            within = [one for one in batch if one.row is not None and self._scope(one.row)]
            given, count = given + len(batch), count + len(within)
            yield within

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """One that is out of scope has no row (see `Side.fetch`)."""
        found = await self._side.fetch(keys)
        return [one if one.row is None or self._scope(one.row) else Entity(one.key, None, one.version) for one in found]

    async def changes(self, after: Position | None) -> Changes | None:
        """As the other side tells them."""
        return await self._side.changes(after)

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """As the other side does."""
        return await self._side.write(steps)

    def describe(self) -> Description:
        """As the other side."""
        return self._side.describe()
