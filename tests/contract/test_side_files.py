# SPDX-License-Identifier: Apache-2.0
"""The port `Side`: files of CSV and NDJSON."""

import csv
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from nerv.protocols.side import Side
from nerv.sync import CsvSource, NdjsonSource
from nerv.sync.sides import FileSide
from nerv.testing.contracts.side import Make, Thing, WritableSideContract, rows


class TestCsvFile(WritableSideContract):
    """Texts that a perspective gives their types."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        """A file with a column that the perspective does not know."""

        async def made(values: Mapping[str, int]) -> Side:
            columns = ["key", "value", "weight", "note", "painted"]
            with (tmp_path / "things.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, columns, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(rows(values))

            class Things(CsvSource):
                path = "things.csv"
                folder = tmp_path
                category = "thing"
                key = "key"
                row = Thing
                missing = frozenset({"-"})

            return FileSide(Things())

        return made


class TestNdjsonFile(WritableSideContract):
    """One JSON object a line."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        """A file without what is computed."""

        async def made(values: Mapping[str, int]) -> Side:
            stored = [{name: value for name, value in row.items() if name != "double"} for row in rows(values)]
            lines = [orjson.dumps(row) + b"\n" for row in stored]
            (tmp_path / "things.ndjson").write_bytes(b"".join(lines) or b"\n")

            class Things(NdjsonSource):
                path = "things.ndjson"
                folder = tmp_path
                category = "thing"
                key = "key"
                row = Thing

            return FileSide(Things())

        return made
