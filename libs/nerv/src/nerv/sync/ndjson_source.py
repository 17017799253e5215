# SPDX-License-Identifier: Apache-2.0
"""Rows from a file of one JSON object a line (NDJSON, also called JSON lines)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, TextIO

import orjson

from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.sync.file_rows import FileRows, Raw


class NdjsonSource(FileRows):
    """An NDJSON file in UTF-8 (see `FileRows`). Empty lines are passed over. Refused, too: a line that is no JSON object."""

    kind: ClassVar[str] = "NdjsonSource"

    def parse(self, file: TextIO) -> Iterator[tuple[str, Raw]]:
        """The objects of the lines."""
        for number, line in enumerate(self.lines(file), start=1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise LoadRefused(f"{self.path} line {number} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise LoadRefused(f"{self.path} line {number} is no JSON object")
            yield f"{self.path} line {number}", row

    def texts(self, rows: Sequence[Raw]) -> Iterable[str]:
        """A line for each row; an empty one for no rows, so that the file is not taken for one that was cut short."""
        yield from (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE).decode() for row in rows)
        if not rows:
            yield "\n"

    def raw(self, row: Raw) -> dict[str, Any]:
        """The values themselves."""
        canonical(row)
        return dict(row)
