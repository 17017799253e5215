# SPDX-License-Identifier: Apache-2.0
"""Sources whose rows come from code: the base of every source of an app."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from nerv.protocols.source import Complete, Row
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.types import Description, utc_now

MAX_ROW_BYTES = 128 * 1024  # an event that holds a row, with its key, stays below the limit of 256 KiB
MAX_FAULTS = 20  # that one refusal names


class RowsSource(ABC):
    """A source that is read row by row: set the class attributes and write `rows`.

    `category` makes the streams `<category>-<key>`, `key` names the column of the key. With `row`, a pydantic model, every
    row is validated by it and kept as it dumps; without, it is kept as it comes.
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
        faults: list[dict[str, str]] = []
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
        if faults:
            first, more = faults[0], len(faults) - 1
            others = f" (and {more} more faults)" if more else ""
            raise LoadRefused(f"{first['place']}: {first['column']}: {first['detail']}{others}", errors=faults)
        yield Complete(count, self.instant())

    def _read(self, place: str, raw: Mapping[str, Any]) -> Row | list[dict[str, str]]:
        """A row, or what is wrong with it."""
        try:
            row = self._validated(raw)
            content = canonical(row)
        except ValidationError as error:
            return [
                _fault(place, ".".join(map(str, fault["loc"])), fault["msg"])
                for fault in error.errors(include_url=False, include_input=False)
            ]
        except TypeError as error:
            return [_fault(place, "", f"JSON cannot hold it: {error}")]
        if len(content) > MAX_ROW_BYTES:
            return [_fault(place, "", f"the row has {len(content)} bytes; the limit is {MAX_ROW_BYTES}")]
        key = row.get(self.key)
        if isinstance(key, int) and not isinstance(key, bool):
            key = str(key)
        if not isinstance(key, str) or not key:
            return [_fault(place, self.key, "the key is missing; it must be a text or a whole number")]
        return Row(key, content, place)

    def _validated(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.row is None:
            return raw
        return self.row.model_validate(raw).model_dump(mode="json")


def _fault(place: str, column: str, detail: str) -> dict[str, str]:
    return {"place": place, "column": column or "row", "detail": detail}
