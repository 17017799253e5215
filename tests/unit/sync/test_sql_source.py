# SPDX-License-Identifier: Apache-2.0
"""Tables as sides: values, keys, pages, scopes, and what the database or the source refuses."""

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Column, Date, DateTime, Integer, LargeBinary, Numeric, String, Table, Time, Uuid

from nerv.errors import Invalid, Misconfigured, Unavailable, VersionConflict
from nerv.protocols.side import Action, Entity, Step, Written
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.sync.sides import paged
from nerv.sync.sides.sql import SqlSource, source
from nerv.sync.sides.sql.values import from_json, to_json
from nerv.testing.contracts.side import loaded
from nerv.types import Stamp

ODD = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("kind", "value", "json"),
    [
        (DateTime(timezone=True), datetime(2013, 1, 15, 14, tzinfo=ODD), "2013-01-15T12:00:00Z"),
        (DateTime(), datetime(2013, 1, 15, 12, 0, 0, 5), "2013-01-15T12:00:00.000005"),  # noqa: DTZ001 - as a column has it
        (Date(), date(2013, 1, 15), "2013-01-15"),
        (Time(), time(12, 30), "12:30:00"),
        (Numeric(), Decimal("12.50"), "12.5"),
        (Numeric(), Decimal("1E+3"), "1000"),
        (Uuid(), UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (LargeBinary(), b"\x00\xff", "AP8="),
        (Integer(), -5, -5),
        (String(), "5", "5"),
    ],
)
def test_values_come_back_from_json(kind: Any, value: Any, json: Any) -> None:
    """Instants in UTC, decimals without needless noughts; what is read again is the same value."""
    assert to_json(value) == json
    assert from_json(Column("it", kind), json) == value


@pytest.mark.parametrize(
    ("kind", "json"),
    [(Integer(), "5"), (Integer(), True), (Integer(), 2**63), (String(), 5), (Date(), "soon"), (Date(), 5),
     (Numeric(), "many"), (Numeric(), True), (Uuid(), "7"), (LargeBinary(), "?")],
)  # fmt: skip
def test_a_value_that_a_column_does_not_take_is_refused(kind: Any, json: Any) -> None:
    """Its column is named: SQLite would have kept it."""
    with pytest.raises(Invalid, match="column it takes"):
        from_json(Column("it", kind), json)


def database(folder: Path, *statements: str) -> str:
    """The address of a new database, after these statements."""
    with closing(sqlite3.connect(folder / "it.db")) as db, db:
        for statement in statements:
            db.execute(statement)
    return f"sqlite:///{folder}/it.db"


def side_of(address: str, **attributes: Any) -> SqlSource:
    """A side over the table `seat`."""
    told = {"url": address, "table": "seat", "category": "seat", "key": "id"}
    made: SqlSource = type("Seats", (SqlSource,), told | attributes)()
    return made


def step(action: Action, entity: Entity, **values: Any) -> Step:
    """What makes an object so."""
    after = None if action is Action.DELETE else canonical({**(entity.row or {}), **values})
    return Step("right", action, entity.key, None, after, entity.version, entity.stamp)


SEATS = "CREATE TABLE seat (id INTEGER PRIMARY KEY, class TEXT NOT NULL CHECK (class <> 'none'), price NUMERIC)"
COMPOSITE = "CREATE TABLE seat (plane TEXT, row INTEGER, free BOOLEAN, PRIMARY KEY (plane, row))"


async def test_of_a_batch_only_what_the_database_refuses_is_refused(tmp_path: Path) -> None:
    """A check that fails, a column that is not there, a text for a number; the others are written."""
    side = side_of(database(tmp_path, SEATS, "INSERT INTO seat VALUES (1, 'first', 10), (2, 'second', 5)"))
    one, two, three, four, five = await side.fetch(["1", "2", "3", "4", "5"])
    outcomes = await side.write(
        [
            step(Action.UPDATE, one, price="11.5"),
            step(Action.UPDATE, two, **{"class": "none"}),
            step(Action.CREATE, three, id=3, **{"class": "third"}),
            step(Action.CREATE, four, id=4, wings=2),
            step(Action.CREATE, five, id=5, **{"class": 5}),
        ]
    )
    assert [type(found) for found in outcomes] == [Written, Invalid, Written, Invalid, Invalid]
    found, _ = await loaded(side)
    assert {key: (entity.row or {})["price"] for key, entity in found.items()} == {"1": "11.5", "2": "5", "3": None}


async def test_keys_that_no_row_can_have_are_absent(tmp_path: Path) -> None:
    """007 is not 7, and a text is no number; to create such a row is refused."""
    side = side_of(database(tmp_path, SEATS, "INSERT INTO seat VALUES (7, 'first', 10)"))
    keys = ["7", "007", "seven", " 7", "-0", str(2**70), "["]
    found = await side.fetch(keys)
    assert [entity.row is not None for entity in found] == [True, *[False] * 6]
    assert all(isinstance(one, Invalid) for one in await side.write([step(Action.CREATE, e, id=7) for e in found[1:]]))


async def test_pages_go_on_after_the_last_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two columns, in pages of three; rows of one plane stand on two pages, and each comes once."""
    monkeypatch.setattr(source, "PAGE_ROWS", 3)
    rows = ", ".join(f"('{plane}', {row}, {row % 2})" for plane in "ab" for row in range(5))
    side = side_of(database(tmp_path, COMPOSITE, f"INSERT INTO seat VALUES {rows}"), key=("plane", "row"), feed=True)
    found, mark = await loaded(side)
    assert mark is not None
    assert len(found) == mark.rows == 10
    assert found['["b","3"]'].row == {"plane": "b", "row": 3, "free": True}
    start = await side.changes(None)
    assert start is not None
    [seat] = await side.fetch(['["b","3"]'])
    assert isinstance((await side.write([step(Action.UPDATE, seat, free=False)]))[0], Written)
    told = await side.changes(start.position)
    assert told is not None
    assert told.keys == ['["b","3"]']


async def test_outside_of_the_scope_nothing_is_seen_or_written(tmp_path: Path) -> None:
    """A row that is outside, or would be once it is written, is refused and stays."""

    class First(SqlSource):
        url = database(tmp_path, SEATS, "INSERT INTO seat VALUES (1, 'first', 10), (2, 'second', 5)")
        table = "seat"
        category = "seat"
        key = "id"

        def scope(self, table: Table) -> Any:
            return table.c["class"] == "first"

    side = First()
    found, _ = await loaded(side)
    assert list(found) == ["1"]
    one, two, three = await side.fetch(["1", "2", "3"])
    assert two.row is None
    outcomes = await side.write(
        [
            step(Action.UPDATE, one, **{"class": "second"}),
            step(Action.CREATE, two, id=2, **{"class": "first"}),
            step(Action.CREATE, three, id=3, **{"class": "third"}),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [Invalid, Invalid, Invalid]
    assert [entity.row for entity in await side_of(side.url).fetch(["1", "2", "3"])] == [
        {"id": 1, "class": "first", "price": "10"}, {"id": 2, "class": "second", "price": "5"}, None,
    ]  # fmt: skip


async def test_a_version_is_counted_and_a_stamp_is_kept(tmp_path: Path) -> None:
    """Neither is part of the row; a write of somebody who counts is seen, with whatever values."""
    table = "CREATE TABLE seat (id INTEGER PRIMARY KEY, class TEXT, version INTEGER, changed TIMESTAMP)"
    address = database(tmp_path, table, "INSERT INTO seat VALUES (1, 'first', 4, '2013-01-15 12:00:00')")
    side = side_of(address, version="version", stamp="changed")
    one, two = await side.fetch(["1", "2"])
    assert one == Entity("1", {"id": 1, "class": "first"}, 4, Stamp.of(datetime(2013, 1, 15, 12, tzinfo=UTC)))
    later = Stamp.of(datetime(2013, 1, 16, tzinfo=UTC))
    steps = [step(Action.UPDATE, one, **{"class": "x"}), step(Action.CREATE, two, id=2)]
    outcomes = await side.write([Step(s.side, s.action, s.key, None, s.after, s.version, later) for s in steps])
    assert outcomes == [Written(5), Written(1)]
    assert [entity.stamp for entity in await side.fetch(["1", "2"])] == [later, later]
    with closing(sqlite3.connect(tmp_path / "it.db")) as db, db:
        db.execute("UPDATE seat SET version = 6 WHERE id = 1")
    [now] = await side.fetch(["1"])
    assert isinstance((await side.write([step(Action.UPDATE, one, **{"class": "y"})]))[0], VersionConflict)
    assert (now.row, now.version) == ({"id": 1, "class": "x"}, 6)


@pytest.mark.parametrize(
    ("table", "attributes", "words"),
    [
        ("CREATE TABLE other (id INTEGER)", {}, "no table seat"),
        ("CREATE TABLE seat (id INTEGER, name TEXT)", {}, "nothing keeps it unique"),
        (SEATS, {"key": "nothing"}, "no column nothing"),
        (SEATS, {"version": "nothing"}, "no column nothing"),
        (SEATS, {"url": "sqlite://"}, "sqlite:///file.db"),
        (SEATS, {"url": "mysql://localhost/it"}, "postgresql://"),
        (SEATS, {"url": "nonsense"}, "postgresql://"),
    ],
)
async def test_a_source_that_cannot_work_says_what_is_wrong(
    tmp_path: Path, table: str, attributes: dict[str, Any], words: str
) -> None:
    """Before anything is read."""
    with pytest.raises(Misconfigured, match=words):
        await loaded(side_of(database(tmp_path, table), **attributes))


async def test_rows_without_a_key_or_of_another_kind_refuse_a_load(tmp_path: Path) -> None:
    """A key that is null stands in no page; a value that is no JSON is named."""
    address = database(
        tmp_path, "CREATE TABLE seat (id TEXT PRIMARY KEY, class TEXT)", "INSERT INTO seat VALUES (NULL, 'x')"
    )
    with pytest.raises(LoadRefused, match="is null"):
        await loaded(side_of(address))
    with closing(sqlite3.connect(tmp_path / "it.db")) as db, db:
        db.execute("DELETE FROM seat")
        db.execute("INSERT INTO seat VALUES ('1', x'00ff')")
    with pytest.raises(LoadRefused, match="JSON"):
        await loaded(side_of(address))


async def test_a_database_that_is_locked_or_gone_can_be_asked_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unavailable, with nothing done: a writer that holds it too long, a server that is not there."""
    monkeypatch.setattr("nerv.sync.sides.sql.database.CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(paged, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(paged, "LONGEST_PAUSE", 0.001)
    side = side_of(database(tmp_path, SEATS, "INSERT INTO seat VALUES (1, 'first', 10)"))
    [one] = await side.fetch(["1"])
    with closing(sqlite3.connect(tmp_path / "it.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert isinstance((await side.write([step(Action.DELETE, one)]))[0], Unavailable)
    assert isinstance((await side.write([step(Action.DELETE, one)]))[0], Written)
    monkeypatch.setattr("nerv.sync.sides.sql.database.CONNECT_SECONDS", 2)
    with pytest.raises(Unavailable):
        await loaded(side_of("postgresql://nobody@127.0.0.1:9/it"))
