# SPDX-License-Identifier: Apache-2.0
"""Sources whose rows come from code: the base of every source of an app."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel

from nerv.protocols.source import Complete, Row
from nerv.sync.reading import MAX_FAULTS, Fault, FaultyRow, fault, read_row, refuse
from nerv.types import Description, utc_now


class RowsSource(ABC):
    """A source that is read row by row: set the class attributes and write `rows`.

    `category` makes the streams `<category>-<key>`, `key` names the column of the key. With `row`, a pydantic model, every
    row is validated by it and kept as it dumps (a perspective: as its `diff_row`, which its schema compares); without, it is
    kept as it comes.
    """

    category: ClassVar[str]
    key: ClassVar[str]
    row: ClassVar[type[BaseModel] | None] = None

    @abstractmethod
    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Each row with its place ("line 17"). To end means that there are no more; raise when not everything was read."""

    def instant(self) -> datetime:
        """When the source was as it was loaded (UTC); asked after the last row. The time of the changes found."""
        return utc_now()

    def describe(self) -> Description:
        """The source as data."""
        return Description("RowsSource", type(self).__name__, outputs=(f"{self.category}-*",))

    def load(self) -> Iterator[Row | Complete]:
        """The rows, checked, and the mark of completeness (see `nerv.protocols.source.Source`)."""
        faults: list[Fault] = []
        count = 0
        for place, raw in self.rows():
            found = self._read(place, raw)
            if isinstance(found, Row):
                count += 1
                yield found
                continue
            faults += found
            if len(faults) >= MAX_FAULTS:
                break
        refuse(faults)
        yield Complete(count, self.instant())

    def _read(self, place: str, raw: Mapping[str, Any]) -> Row | list[Fault]:
        """A row, or what is wrong with it."""
        try:
            row, content = read_row(self.row, raw)
        except FaultyRow as faulty:
            return [fault(place, column, detail) for column, detail in faulty.faults]
        key = row.get(self.key)
        if isinstance(key, int) and not isinstance(key, bool):
            key = str(key)
        if not isinstance(key, str) or not key:
            return [fault(place, self.key, "the key is missing; it must be a text or a whole number")]
        return Row(key, content, place)
