# SPDX-License-Identifier: Apache-2.0
"""Rows from a text file that stays inside of its folder, and that is refused when it is not whole."""

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TextIO

from nerv.errors import Misconfigured
from nerv.sync.errors import LoadRefused
from nerv.sync.rows import RowsSource
from nerv.types import Description, utc_now

MAX_LINE = 1024 * 1024  # characters; a file without line breaks must not fill the memory

Raw = Mapping[str, Any]
"""A row as the file has it."""


class FileRows(RowsSource):
    """A text file in UTF-8 whose lines are rows. `path` is relative to `folder`, which is a folder or something that gives one
    when it is called (a classmethod that reads the environment).

    Refused: a file that is missing, empty, cut short (no line break at its end), or that changes while it is read. Changes
    found carry the file's modification time as their time. `nerv.sync.sides.FileSide` makes of it a side that is watched and
    can be written.
    """

    kind: ClassVar[str]
    path: ClassVar[str]
    folder: ClassVar[str | Path | Callable[[], str | Path]] = "."

    def __init__(self) -> None:
        self._instant: datetime | None = None

    @abstractmethod
    def parse(self, file: TextIO) -> Iterator[tuple[str, Raw]]:
        """The rows of an open file, each with its place. Raises LoadRefused, UnicodeDecodeError."""

    @abstractmethod
    def texts(self, rows: Sequence[Raw]) -> Iterable[str]:
        """The lines of a file of these rows, each with its line break. Raises Invalid for rows that it cannot hold."""

    @abstractmethod
    def raw(self, row: Raw) -> dict[str, Any]:
        """Values as the file writes them, so that `parse` reads them again. Raises Invalid."""

    def instant(self) -> datetime:
        """The file's modification time, not later than now."""
        return min(self._instant or utc_now(), utc_now())

    def describe(self) -> Description:
        """The source as data: it reads the file of its path."""
        return Description(self.kind, type(self).__name__, inputs=(self.path,), outputs=(f"{self.category}-*",))

    def rows(self) -> Iterator[tuple[str, Raw]]:
        """The rows, until the end of a file that did not change meanwhile."""
        with self._opened() as file:
            before = identity(os.fstat(file.fileno()))
            yield from self.parse(file)
            after = os.fstat(file.fileno())
            if identity(after) != before or identity(self.file().stat()) != before:
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

    def lines(self, file: TextIO) -> Iterator[str]:
        """The lines of a file, none of them endless."""
        while line := file.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise LoadRefused(f"{self.path} has a line of more than {MAX_LINE} characters")
            yield line

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


def identity(status: os.stat_result) -> tuple[int, int, int, int]:
    """What tells a file from the one that was there before."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_end(file: Path, path: str) -> None:
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        if size == 0:
            raise LoadRefused(f"{path} is empty; an empty load never deletes anything")
        opened.seek(size - 1)
        if opened.read(1) not in b"\r\n":
            raise LoadRefused(f"{path} does not end with a line break, so it may be cut short; complete it")
