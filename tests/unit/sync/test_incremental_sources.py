# SPDX-License-Identifier: Apache-2.0
"""The incremental diff between real systems equals diffsync's own full diff of what they hold, whoever edited them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nerv.perspectives import DiffSchema
from nerv.sync import NdjsonSource
from nerv.sync.sides import FileSide
from nerv.sync.sides.sql import SqlSource
from nerv.sync.synchronizer import DiffSynchronizer
from tests.unit.sync.test_incremental import KEYS, MILES, MODELS, SEATS, full_diff, quiet

__all__ = ["quiet"]  # diffsync, used by itself here, would print every object

SCHEMA = DiffSchema("plane", ("key",), ("seats", "model", "miles"))
ROWS = st.fixed_dictionaries({"seats": st.none() | SEATS, "model": MODELS, "miles": MILES})
EDITS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "file"]), KEYS, ROWS),
        st.tuples(st.sampled_from(["delete", "drop"]), KEYS, st.none()),
        st.tuples(st.just("rename"), KEYS, KEYS),
        st.tuples(st.sampled_from(["raise", "untrigger", "apply"]), st.none(), st.none()),
    ),
    max_size=8,
)


class Systems:
    """A table of SQLite and a file, which are edited by other means than ours, and the sync between them."""

    def __init__(self, folder: Path) -> None:
        class Table(SqlSource):
            url = f"sqlite:///{folder}/planes.db"
            table = "plane"
            category = "plane"
            key = "key"
            feed = True

        class File(NdjsonSource):
            path = "planes.ndjson"
            category = "plane"
            key = "key"

        File.folder = folder
        self._database, self._file = folder / "planes.db", folder / "planes.ndjson"
        self._execute("CREATE TABLE plane (key TEXT PRIMARY KEY, seats INTEGER, model TEXT, miles REAL)")
        self._rewrite({})
        self.table = Table()
        self.sync = DiffSynchronizer("planes", self.table, FileSide(File()), SCHEMA)

    async def edit(self, what: str, key: Any, value: Any) -> None:
        """One edit."""
        if what == "put":
            row = (key, value["seats"], value["model"], value["miles"])
            self._execute("INSERT OR REPLACE INTO plane VALUES (?, ?, ?, ?)", *row)
        elif what == "delete":
            self._execute("DELETE FROM plane WHERE key = ?", key)
        elif what == "rename":
            self._execute("UPDATE OR IGNORE plane SET key = ? WHERE key = ?", value, key)
        elif what == "raise":
            self._execute("UPDATE plane SET miles = miles + 1 WHERE seats > 1")
        elif what == "untrigger":
            for name in self._execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%update%'"):
                self._execute(f"DROP TRIGGER {name[0]}")
            self._execute("UPDATE plane SET model = 'B'")
        elif what == "apply" and self.rows():
            await self.sync.apply(await self.sync.plan(), confirm_deletes=True)
        elif what in ("file", "drop"):
            rows = {one: row for one, row in self.written().items() if one != key}
            self._rewrite(rows if value is None else {**rows, key: {"key": key, **value}})

    def rows(self) -> dict[str, Any]:
        """What the table holds."""
        found = self._execute("SELECT key, seats, model, miles FROM plane")
        return {row[0]: dict(zip(("key", "seats", "model", "miles"), row, strict=True)) for row in found}

    def written(self) -> dict[str, Any]:
        """What the file holds."""
        lines = [json.loads(line) for line in self._file.read_text().splitlines() if line]
        return {row["key"]: row for row in lines}

    def _execute(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self._database)) as database, database:
            return database.execute(statement, values).fetchall()

    def _rewrite(self, rows: dict[str, Any]) -> None:
        self._file.write_text("".join(f"{json.dumps(row)}\n" for row in rows.values()) or "\n")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(EDITS, min_size=1, max_size=4))
async def test_the_plan_between_a_table_and_a_file_is_the_full_diff(rounds: list[list[Any]]) -> None:
    """After each round: rows put, renamed and deleted by SQL, triggers dropped, files written anew, plans applied."""
    with TemporaryDirectory() as folder:
        systems = Systems(Path(folder))
        async with systems.table:
            for edits in rounds:
                for edit in edits:
                    await systems.edit(*edit)
                left, right = systems.rows(), systems.written()
                tagged = [{k: {**row, "tags": []} for k, row in side.items()} for side in (left, right)]
                wanted = full_diff(tagged[0], tagged[1], 0.0)
                if not left and "delete" in wanted.values():
                    continue  # an empty side deletes nothing; diffsync would
                assert {step.key: step.action.value for step in (await systems.sync.plan()).steps} == wanted
