# SPDX-License-Identifier: Apache-2.0
"""Rows from a CSV file (RFC 4180) with a header line."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, TextIO

from nerv.errors import Invalid
from nerv.sync.errors import LoadRefused
from nerv.sync.file_rows import FileRows, Raw


class CsvSource(FileRows):
    """A CSV file in UTF-8 (see `FileRows`). Without a `row` model every column is a string, and None where it is empty (or
    another of the texts in `missing`). Refused, too: a line with too few or too many columns.
    """

    kind: ClassVar[str] = "CsvSource"
    delimiter: ClassVar[str] = ","
    missing: ClassVar[frozenset[str]] = frozenset({""})  # texts that mean None

    def __init__(self) -> None:
        super().__init__()
        self._columns: list[str] = []

    def parse(self, file: TextIO) -> Iterator[tuple[str, Raw]]:
        """The lines by their columns."""
        reader = csv.reader(self.lines(file), delimiter=self.delimiter, strict=True)
        try:
            header, missing = self._header(next(reader, None)), self.missing
            self._columns = header
            for values in reader:
                if len(values) != len(header):
                    raise LoadRefused(
                        f"{self.path} line {reader.line_num}: {len(values)} columns, the header has {len(header)}; "
                        "the file may be cut short"
                    )
                row = {name: None if value in missing else value for name, value in zip(header, values, strict=True)}
                yield f"{self.path} line {reader.line_num}", row
        except csv.Error as error:
            raise LoadRefused(f"{self.path} is not well-formed CSV: {error}") from None

    def texts(self, rows: Sequence[Raw]) -> Iterable[str]:
        """A header and the rows; the columns are those of the file as it was read, or of the first row."""
        columns = self._columns or list(rows[0] if rows else self._needed())
        none = "" if "" in self.missing else min(self.missing, default="")
        page = io.StringIO()
        writer = csv.writer(page, delimiter=self.delimiter, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            strange = [name for name in row if name not in columns]
            if strange:
                raise Invalid(f"{self.path} has no column {', '.join(strange)}; it has {', '.join(columns)}")
            writer.writerow([none if row.get(name) is None else row[name] for name in columns])
            if page.tell() > 65_536:
                yield page.getvalue()
                page.seek(page.truncate(0))
        yield page.getvalue()

    def raw(self, row: Raw) -> dict[str, Any]:
        """Texts, and None for what is missing."""
        return {name: self._text(name, value) for name, value in row.items()}

    def _text(self, name: str, value: Any) -> str | None:
        if value is None:
            return None
        if isinstance(value, dict | list):
            raise Invalid(f"{self.path}: {name} is not one value, and a column of CSV holds no more")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if text in self.missing:
            raise Invalid(f"{self.path}: {name} is {text!r}, which means that there is none; no line can say it")
        return text

    def _header(self, header: list[str] | None) -> list[str]:
        if not header:
            raise LoadRefused(f"{self.path} is empty; it lacks even a header line")
        doubles = sorted({name for name in header if header.count(name) > 1})
        if doubles:
            raise LoadRefused(f"{self.path}: the header names {', '.join(doubles)} twice")
        absent = [name for name in self._needed() if name not in header]
        if absent:
            raise LoadRefused(f"{self.path}: column {', '.join(absent)} is missing; there are {', '.join(header)}")
        return header

    def _needed(self) -> list[str]:
        if self.row is None:
            return [self.key]
        fields = self.row.model_fields.items()
        return [field.alias or name for name, field in fields if field.is_required() and not field.validation_alias]
