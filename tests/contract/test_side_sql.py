# SPDX-License-Identifier: Apache-2.0
"""The port `Side`: tables of SQLite, with and without a feed and a version column. PostgreSQL is in tests/integration/sync."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from nerv.protocols.side import Side
from nerv.sync.sides.sql import SqlSource
from nerv.testing.contracts.side import Make, Thing, WritableSideContract, rows

CREATE = """CREATE TABLE thing (
  key TEXT PRIMARY KEY, value INTEGER NOT NULL, weight REAL NOT NULL, note TEXT NOT NULL DEFAULT '', version INTEGER DEFAULT 1
)"""


def filled(path: Path, values: Mapping[str, int]) -> Path:
    """A database with a table of these things."""
    given = [(row["key"], row["value"], row["weight"]) for row in rows(values)]
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(CREATE)
        db.executemany("INSERT INTO thing (key, value, weight) VALUES (?, ?, ?)", given)
    return path


@pytest.mark.parametrize("noting", [True, False], ids=["with a feed and versions", "as it is"])
class TestSqlite(WritableSideContract):
    """A table whose changes triggers note and whose rows have versions; and one without either."""

    @pytest.fixture
    def make(self, tmp_path: Path, noting: bool) -> Make:
        """In a database of its own."""

        async def made(values: Mapping[str, int]) -> Side:
            file = filled(tmp_path / "things.db", values)

            class Things(SqlSource):
                url = f"sqlite:///{file}"
                table = "thing"
                category = "thing"
                key = "key"
                row = Thing
                version = "version" if noting else None
                feed = noting

            return Things()

        return made
