# SPDX-License-Identifier: Apache-2.0
"""Tables of a real PostgreSQL as sides of a sync."""

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest

from bench.temporal.postgres import USER, postgres_for_measuring
from nerv.errors import VersionConflict
from nerv.protocols.side import Action, Side, Written
from nerv.sync.sides.sql import SqlSource
from nerv.testing.contracts.side import Make, Thing, WritableSideContract, rows, step

COLUMNS = "key text PRIMARY KEY, value bigint NOT NULL, weight double precision NOT NULL, note text NOT NULL DEFAULT ''"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server of its own."""
    with postgres_for_measuring(lambda text: None, synchronous=False) as port:
        yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"


def filled(server: str, values: Mapping[str, int]) -> str:
    """The name of a new table with these things."""
    name = f"thing_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server) as db, db.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} ({COLUMNS})")
        given = [(row["key"], row["value"], row["weight"]) for row in rows(values)]
        cursor.executemany(f"INSERT INTO {name} (key, value, weight) VALUES (%s, %s, %s)", given)
    return name


def side_of(server: str, name: str, **attributes: Any) -> SqlSource:
    """A side over a table."""
    told = {"url": server, "table": name, "category": "thing", "key": "key", "row": Thing, "feed": True}
    made: SqlSource = type("Things", (SqlSource,), told | attributes)()
    return made


class TestPostgresqlSide(WritableSideContract):
    """A table whose changes triggers note."""

    @pytest.fixture
    def make(self, server: str) -> Make:
        """A table of its own."""

        async def made(values: Mapping[str, int]) -> Side:
            return side_of(server, filled(server, values))

        return made


async def test_a_transaction_that_ends_late_is_told(server: str) -> None:
    """A change that was made before a position was taken, and committed after it, comes with the next question."""
    side = side_of(server, filled(server, {"a": 1, "b": 2, "c": 3}))
    await side.changes(None)
    with psycopg.connect(server) as late, psycopg.connect(server, autocommit=True) as quick:
        late.execute(f"UPDATE {side.table} SET value = 10 WHERE key = 'a'")
        quick.execute(f"UPDATE {side.table} SET value = 20 WHERE key = 'b'")
        start = await side.changes(None)
        assert start is not None
        quick.execute(f"UPDATE {side.table} SET value = 30 WHERE key = 'c'")
        between = await side.changes(start.position)
        assert between is not None
        assert "c" in between.keys
        assert "a" not in between.keys
        late.commit()
    told = await side.changes(between.position)
    assert told is not None
    assert "a" in told.keys


async def test_whatever_changes_a_table_is_told(server: str) -> None:
    """Many rows by one statement, a key that changes, a copy, an upsert; a table that is emptied begins a new epoch."""
    side = side_of(server, filled(server, {f"k{n}": n for n in range(20)}))
    start = await side.changes(None)
    assert start is not None
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f"UPDATE {side.table} SET value = value + 1 WHERE value < 3")
        db.execute(f"UPDATE {side.table} SET key = 'renamed' WHERE key = 'k5'")
        db.execute(f"INSERT INTO {side.table} VALUES ('k7', 0, 0) ON CONFLICT (key) DO UPDATE SET value = 70")
        with db.cursor() as cursor, cursor.copy(f"COPY {side.table} (key, value, weight) FROM STDIN") as copy:
            copy.write_row(("copied", 1, 1.0))
        db.execute(f"DELETE FROM {side.table} WHERE key = 'k9'")
        told = await side.changes(start.position)
        assert told is not None
        assert sorted(told.keys) == ["copied", "k0", "k1", "k2", "k5", "k7", "k9", "renamed"]
        db.execute(f"TRUNCATE {side.table}")
    assert await side.changes(told.position) is None
    anew = await side.changes(None)
    assert anew is not None
    assert anew.position.epoch != start.position.epoch


async def test_a_feed_whose_trigger_is_gone_tells_nothing(server: str) -> None:
    """Dropped or disabled by somebody: the position is void, and the next one has all triggers again."""
    side = side_of(server, filled(server, {"a": 1}))
    for harm in ("DROP TRIGGER nerv_note_update ON", "ALTER TABLE"):
        start = await side.changes(None)
        assert start is not None
        with psycopg.connect(server, autocommit=True) as db:
            more = "" if harm.startswith("DROP") else " DISABLE TRIGGER nerv_note_delete"
            db.execute(f"{harm} {side.table}{more}")
        assert await side.changes(start.position) is None


async def test_of_two_writers_at_once_one_is_told_of_a_conflict(server: str) -> None:
    """Both have seen the same row, both write it together: one value stands, and the other step was refused."""
    name = filled(server, {"a": 1})
    one, other = side_of(server, name), side_of(server, name)
    [seen], [absent] = await one.fetch(["a"]), await one.fetch(["b"])
    for action, entity in ((Action.UPDATE, seen), (Action.CREATE, absent)):
        outcomes = await asyncio.gather(
            *(side.write([step(action, entity, value)]) for side, value in ((one, 10), (other, 20)))
        )
        assert {type(found[0]) for found in outcomes} == {Written, VersionConflict}
