# SPDX-License-Identifier: Apache-2.0
"""Rows in memory, as one side of a sync."""

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice

import orjson

from nerv.clock import HybridClock
from nerv.errors import Invalid, VersionConflict
from nerv.protocols.side import Action, Changes, Entity, Position, Row, Step, WriteOutcome, Written
from nerv.protocols.source import Complete
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.sync.schema import key_of
from nerv.sync.sides.feed import ChangeLog
from nerv.types import Description, Stamp, check_id, utc_now

BATCH = 1000  # rows that `load` gives at a time


class MappingSide:
    """Rows by key in this process, with versions, stamps and a change feed. What is given is copied, so that all changes go
    by `put` and `remove`.
    """

    def __init__(self, name: str, *, clock: HybridClock | None = None, feed: ChangeLog | None = None) -> None:
        self.name = check_id(name, "name of a side")
        self.writable = True
        self._clock = clock or HybridClock(name)
        self._feed = feed or ChangeLog()
        self._entities: dict[str, Entity] = {}  # removed ones among them, so that their versions go on
        self._written = 0

    @classmethod
    def of(cls, name: str, identifiers: Sequence[str], rows: Iterable[Row]) -> "MappingSide":
        """A side with these rows, each under the key that its identifiers make. Raises LoadRefused for two under one key."""
        side = cls(name)
        for row in rows:
            key = key_of(identifiers, row)
            if key in side._entities:
                raise LoadRefused(f"{name}: key {key!r} is there twice; keys must be unique")
            side.put(key, row)
        return side

    def __len__(self) -> int:
        return sum(1 for entity in self._entities.values() if entity.row is not None)

    def __getitem__(self, key: str) -> Row:
        """The row of a key. Raises KeyError where there is none."""
        row = self._entities[key].row
        if row is None:
            raise KeyError(key)
        return row

    def __contains__(self, key: str) -> bool:
        entity = self._entities.get(key)
        return entity is not None and entity.row is not None

    def put(self, key: str, row: Row, stamp: Stamp | None = None) -> None:
        """Create or replace a row. Raises Invalid for a key or a row that cannot be kept (rows are JSON)."""
        self._set(check_id(key, "key"), _copied(row), stamp)

    def remove(self, key: str, stamp: Stamp | None = None) -> None:
        """Remove a row; nothing where there is none."""
        if key in self._entities and self._entities[key].row is not None:
            self._set(key, None, stamp)

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every row as it is when its turn comes (see `Side.load`); what changes meanwhile is told by the feed."""
        count = 0
        keys = iter(list(self._entities))
        while chunk := list(islice(keys, BATCH)):
            found = [entity for key in chunk if (entity := self._entities[key]).row is not None]
            count += len(found)
            yield found
        yield Complete(count, utc_now())

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The rows of these keys (see `Side.fetch`)."""
        return [self._entities.get(key) or Entity(key, None) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """What was put or removed since (see `Side.changes`)."""
        return self._feed.since(after)

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write each at the version it names (see `Side.write`)."""
        return [self._write(step) for step in steps]

    def describe(self) -> Description:
        """The side as data."""
        counters = {"held": len(self), "written": self._written}
        return Description("MappingSide", self.name, counters=counters, parts=(self._feed.describe(),))

    def _write(self, step: Step) -> WriteOutcome:
        entity = self._entities.get(step.key) or Entity(step.key, None)
        if entity.version != step.version:
            return VersionConflict(f"{self.name}: {step.key} is at version {entity.version}, not {step.version}")
        try:
            if step.stamp is not None:
                self._clock.receive(step.stamp)
        except Invalid as error:
            return error
        row = None if step.action is Action.DELETE or step.after is None else orjson.loads(step.after)
        self._set(step.key, row, step.stamp)
        self._written += 1
        return Written(self._entities[step.key].version)

    def _set(self, key: str, row: Row | None, stamp: Stamp | None) -> None:
        before = self._entities.get(key)
        version = before.version if before is not None and isinstance(before.version, int) else 0
        self._entities[key] = Entity(key, row, version + 1, stamp or self._clock.now())
        self._feed.note([key])


def _copied(row: Row) -> Row:
    try:
        copied: Row = orjson.loads(canonical(row))
    except TypeError as error:
        raise Invalid(f"a row must be JSON: {error}") from None
    return copied
