# SPDX-License-Identifier: Apache-2.0
"""The change feed of a table: triggers note each changed key, once, at its latest change, in tables beside it.

PostgreSQL: `at` is the id of the transaction, and a position the oldest one that was still open when it was taken. So nothing
that commits later is missed, in whatever order transactions end; what was told may be told again. SQLite has one writer
at a time, and its changes are numbered. TRUNCATE begins a new epoch. What no trigger sees is what nobody is told of: a restored
backup, a row that `INSERT OR REPLACE` pushes out of SQLite by another unique index. A verification finds it.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from sqlalchemy import Connection, Table, text

from nerv.protocols.side import Position

KEPT = 1_000_000  # keys that are told; whoever is further behind loads the table
TRIGGERS = {"postgresql": 4, "sqlite": 3}

_READ = {
    "postgresql": "SELECT epoch, pg_snapshot_xmin(pg_current_snapshot())::text::bigint,"
    " (SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND tgname LIKE 'nerv\\_note\\_%'"
    " AND tgenabled = 'A') FROM nerv_feeds WHERE source = :source",
    "sqlite": "SELECT epoch, sequence, (SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
    " AND name LIKE 'nerv_note_%' AND tbl_name = :table) FROM nerv_feeds WHERE source = :source",
}
# PostgreSQL tells again what was still open at the position, SQLite only what came after it.
_SINCE = {
    "postgresql": "SELECT key FROM nerv_changes WHERE source = :source AND at >= :after LIMIT :most",
    "sqlite": "SELECT key FROM nerv_changes WHERE source = :source AND at > :after LIMIT :most",
}
_IS_THERE = {
    "postgresql": "SELECT to_regclass('nerv_feeds') IS NOT NULL",
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE name = 'nerv_feeds'",
}


class TriggerFeed:
    """The feed of one table. All methods block, inside of the transaction of the connection."""

    def __init__(self, table: Table, identifiers: Sequence[str]) -> None:
        self._table = table
        self._identifiers = identifiers
        self._source = table.fullname

    def install(self, connection: Connection) -> None:
        """Put tables and triggers beside the table, in place of those there are: a new epoch."""
        for statement in self._statements(connection):
            # With no parameters, so that a sign of a driver's own in a name stays what it is.
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def position(self, connection: Connection) -> Position | None:
        """Where the feed stands; None where it is not installed, or not whole any more."""
        kind = connection.dialect.name
        if not connection.execute(text(_IS_THERE[kind])).scalar():
            return None
        name = self._quoted(connection) if kind == "postgresql" else self._table.name
        found = connection.execute(text(_READ[kind]), {"source": self._source, "table": name}).first()
        if found is None or found[2] != TRIGGERS[kind]:
            return None
        return Position(found[0], found[1])

    def since(self, connection: Connection, after: Position) -> tuple[Position, list[Any]] | None:
        """Where it stands, and the identifiers of what changed after a position; None where it cannot tell."""
        now = self.position(connection)
        if now is None or now.epoch != after.epoch or not isinstance(after.sequence, int):
            return None
        if not isinstance(now.sequence, int) or after.sequence > now.sequence:
            return None
        asked = {"source": self._source, "after": after.sequence, "most": KEPT + 1}
        keys = connection.execute(text(_SINCE[connection.dialect.name]), asked).scalars().all()
        return None if len(keys) > KEPT else (now, list(keys))

    def _statements(self, connection: Connection) -> list[str]:
        kind, quote = connection.dialect.name, connection.dialect.identifier_preparer.quote_identifier
        mark = hashlib.blake2b(self._source.encode(), digest_size=8).hexdigest()
        columns = [quote(name) for name in self._identifiers]
        names = {
            "table": self._quoted(connection),
            "source": "'" + self._source.replace("'", "''") + "'",
            "columns": ", ".join(columns),
            "new": ", ".join(f"NEW.{column}" for column in columns),
            "old": ", ".join(f"OLD.{column}" for column in columns),
            "function": f"nerv_note_{mark}",
            **{word: f"nerv_note_{word}_{mark}" for word in ("insert", "update", "delete")},
        }
        if kind == "postgresql":
            names["schema"] = quote(connection.execute(text("SELECT current_schema()")).scalar_one())
        script = (files(__package__) / f"feed_{kind}.sql").read_text(encoding="utf-8")
        body = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
        return [part.strip().format_map(names) for part in body.split("\n\n") if part.strip()]

    def _quoted(self, connection: Connection) -> str:
        return connection.dialect.identifier_preparer.format_table(self._table)
