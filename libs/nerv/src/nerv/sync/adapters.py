# SPDX-License-Identifier: Apache-2.0
"""The diff, by diffsync. The one module that imports it: apps declare sources without paying for it.

Only the diff is diffsync's. Its sync reports success without touching a back end, so changes are applied by our own means.
An object has one identifier (diffsync joins several with `__`, and they could collide) and one attribute, its row, which is
equal to another when the schema says so: of several attributes only those would be compared that both sides have.
"""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Self

from diffsync import Adapter, DiffSyncModel
from diffsync.enum import DiffSyncFlags
from diffsync.helpers import DiffSyncDiffer

from nerv.protocols.side import Action, Entity, Row
from nerv.sync.schema import Schema


class Compared:
    """A row that is equal to another when its schema says so."""

    __hash__ = None  # type: ignore[assignment]  # equality within a tolerance has no hash
    __slots__ = ("row", "schema")

    def __init__(self, row: Row, schema: Schema) -> None:
        self.row = row
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Compared):
            return NotImplemented
        return self.schema.equal(self.row, other.row)


class Object(DiffSyncModel):
    """An object as diffsync compares it."""

    _modelname = "object"
    _identifiers = ("key",)
    _attributes = ("row",)

    key: str
    row: Any


class SideAdapter(Adapter):
    """Some objects of one side."""

    object = Object
    top_level: ClassVar[list[str]] = ["object"]

    def __init__(self, name: str, entities: Iterable[Entity], schema: Schema) -> None:
        super().__init__(name=name)
        self._entities = entities
        self._schema = schema

    def load(self) -> None:
        """Take over the objects that have a row."""
        for entity in self._entities:
            if entity.row is not None:
                self.add(Object(key=entity.key, row=Compared(entity.row, self._schema)))


class _Silent:
    """A logger that says nothing: diffsync would print every object wherever structlog is not set up otherwise."""

    def bind(self, **values: object) -> Self:
        """Itself."""
        return self

    def debug(self, event: str, **values: object) -> None:
        """Nothing."""

    info = debug


_SILENT = _Silent()


class _Differ(DiffSyncDiffer):
    """diffsync's comparison without its logger, which it makes for itself."""

    logger = property(lambda self: _SILENT, lambda self, given: None)


def difference(source: Iterable[Entity], target: Iterable[Entity], schema: Schema) -> dict[str, Action]:
    """What must become of the objects of the target so that they equal those of the source, by key. O(N), blocks."""
    one, other = SideAdapter("source", source, schema), SideAdapter("target", target, schema)
    one.load()
    other.load()
    found = _Differ(one, other, DiffSyncFlags.NONE).calculate_diffs()
    return dict(_actions(found.get_children()))


def _actions(elements: Iterable[Any]) -> Iterator[tuple[str, Action]]:
    for element in elements:
        if element.action is not None:
            yield element.keys["key"], Action(element.action)
