# SPDX-License-Identifier: Apache-2.0
"""The port `Source`: rows from code, and from a CSV file."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from nerv.protocols.source import Source
from nerv.sync import CsvSource, RowsSource
from nerv.testing.contracts.source import Make, SourceContract

Rows = Sequence[Mapping[str, str | None]]


class Planes(RowsSource):
    """Rows that code gives."""

    category = "plane"
    key = "tailnum"

    def __init__(self, given: Rows) -> None:
        self._given = given

    def rows(self) -> Iterator[tuple[str, Mapping[str, str | None]]]:
        """The rows given."""
        for number, row in enumerate(self._given, start=1):
            yield f"row {number}", row


class TestRowsSource(SourceContract):
    """A source whose rows come from code keeps the contract."""

    @pytest.fixture
    def make(self) -> Make:
        """From the rows themselves."""
        return Planes


class TestCsvSource(SourceContract):
    """A CSV file keeps the contract."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        """Written to a file of its own for each source."""

        def written(rows: Rows) -> Source:
            name = f"planes-{len(list(tmp_path.iterdir()))}.csv"
            with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]) if rows else ["tailnum", "model", "note"])
                writer.writeheader()
                writer.writerows(rows)

            class File(CsvSource):
                path = name
                folder = tmp_path
                category = "plane"
                key = "tailnum"

            return File()

        return written
