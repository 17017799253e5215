# SPDX-License-Identifier: Apache-2.0
"""The diff, by diffsync. The one module that imports it: apps declare sources without paying for it.

Only the diff is diffsync's. Its sync reports success without touching a back end, so changes are applied by our own means.
An entity has one identifier (several would be joined with `__` and could collide) and one attribute, the whole row: of
several attributes only those would be compared that both sides have, and a new column would go unseen.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from diffsync import Adapter, DiffSyncModel

from nerv.protocols.source import Row
from nerv.sync.change import Action, Change
from nerv.sync.current import Current
from nerv.sync.loading import Check, go_on


class Entity(DiffSyncModel):
    """An entity as diffsync compares it."""

    _modelname = "entity"
    _identifiers = ("key",)
    _attributes = ("content",)

    key: str
    content: bytes


class SourceAdapter(Adapter):
    """What a source holds."""

    entity = Entity
    top_level: ClassVar[list[str]] = ["entity"]

    def __init__(self, rows: Mapping[str, Row]) -> None:
        super().__init__(name="source")
        self._rows = rows

    def load(self) -> None:
        """Take over the rows of a complete load."""
        for row in self._rows.values():
            self.add(Entity(key=row.key, content=row.content))


class HistoryAdapter(Adapter):
    """What the streams of a category hold."""

    entity = Entity
    top_level: ClassVar[list[str]] = ["entity"]

    def __init__(self, entities: Mapping[str, Current]) -> None:
        super().__init__(name="history")
        self._entities = entities

    def load(self) -> None:
        """Take over the entities that are not removed."""
        for key, current in self._entities.items():
            if current.content is not None:
                self.add(Entity(key=key, content=current.content))


def difference(rows: Mapping[str, Row], entities: Mapping[str, Current], check: Check = go_on) -> list[Change]:
    """What must change so that the streams hold what the source holds, in order of keys. O(N), blocks."""
    source, target = SourceAdapter(rows), HistoryAdapter(entities)
    source.load()
    check()
    target.load()
    return sorted(_changes(source, target, check), key=lambda change: change.key)


def _changes(source: SourceAdapter, target: HistoryAdapter, check: Check) -> Iterator[Change]:
    for element in target.diff_from(source, callback=lambda *progress: check()).get_children():
        if element.action is None:
            continue
        before = element.dest_attrs["content"] if element.dest_attrs is not None else None
        after = element.source_attrs["content"] if element.source_attrs is not None else None
        yield Change(Action(element.action), element.keys["key"], before, after)
