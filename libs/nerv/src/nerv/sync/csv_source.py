# SPDX-License-Identifier: Apache-2.0
"""Rows from a CSV file (RFC 4180) with a header line."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TextIO

from nerv.errors import Misconfigured
from nerv.sync.errors import LoadRefused
from nerv.sync.rows import RowsSource
from nerv.types import Description, utc_now

MAX_LINE = 1024 * 1024  # characters; a file without line breaks must not fill the memory


class CsvSource(RowsSource):
    """A CSV file in UTF-8. Without a `row` model every column is a string, and None where it is empty (or another of the
    texts in `missing`).

    `path` is relative to `folder`, which is a folder or something that gives one when it is called (a classmethod that reads
    the environment). Refused: a file that is missing, empty, cut short (no line break at its end), or that changes while it is
    read; a line with too few or too many columns. Changes found carry the file's modification time as their time.
    """

    path: ClassVar[str]
    folder: ClassVar[str | Path | Callable[[], str | Path]] = "."
    delimiter: ClassVar[str] = ","
    missing: ClassVar[frozenset[str]] = frozenset({""})  # texts that mean None

    def __init__(self) -> None:
        self._instant: datetime | None = None

    def instant(self) -> datetime:
        """The file's modification time, not later than now."""
        return min(self._instant or utc_now(), utc_now())

    def describe(self) -> Description:
        """The source as data: it reads the file of its path."""
        return Description("CsvSource", type(self).__name__, inputs=(self.path,), outputs=(f"{self.category}-*",))

    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The lines by their columns, until the end of a file that did not change meanwhile."""
        with self._opened() as file:
            before = _identity(os.fstat(file.fileno()))
            reader = csv.reader(_lines(file, self.path), delimiter=self.delimiter, strict=True)
            header, missing = self._header(next(reader, None)), self.missing
            for values in reader:
                if len(values) != len(header):
                    raise LoadRefused(
                        f"{self.path} line {reader.line_num}: {len(values)} columns, the header has {len(header)}; "
                        "the file may be cut short"
                    )
                row = {name: None if value in missing else value for name, value in zip(header, values, strict=True)}
                yield f"{self.path} line {reader.line_num}", row
            after = os.fstat(file.fileno())
            if _identity(after) != before or _identity(self.file().stat()) != before:
                raise LoadRefused(f"{self.path} changed while it was read; run it again when it is whole")
            self._instant = datetime.fromtimestamp(after.st_mtime_ns // 1000 / 1_000_000, UTC)

    def file(self) -> Path:
        """The file, inside of the folder. Raises Misconfigured for a path that leaves it."""
        # Asked for by the class, so that a function given as `folder` is not bound to this object.
        given = type(self).folder
        folder = Path(given() if callable(given) else given).resolve()
        file = (folder / self.path).resolve()
        if not file.is_relative_to(folder):
            raise Misconfigured(f"source {type(self).__name__}: path {self.path!r} leads out of its folder")
        return file

    @contextmanager
    def _opened(self) -> Iterator[TextIO]:
        file = self.file()
        try:
            _check_end(file, self.path)
            with file.open(encoding="utf-8-sig", newline="") as opened:
                yield opened
        except FileNotFoundError:
            raise LoadRefused(f"there is no file {file}; nothing was changed") from None
        except OSError as error:
            raise LoadRefused(f"{file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise LoadRefused(f"{self.path} is not UTF-8: {error.reason} at byte {error.start} of a block") from None
        except csv.Error as error:
            raise LoadRefused(f"{self.path} is not well-formed CSV: {error}") from None

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


def _check_end(file: Path, path: str) -> None:
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        if size == 0:
            raise LoadRefused(f"{path} is empty; an empty load never deletes anything")
        opened.seek(size - 1)
        if opened.read(1) not in b"\r\n":
            raise LoadRefused(f"{path} does not end with a line break, so it may be cut short; complete it")


def _lines(file: TextIO, path: str) -> Iterator[str]:
    while line := file.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise LoadRefused(f"{path} has a line of more than {MAX_LINE} characters")
        yield line


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
