# SPDX-License-Identifier: Apache-2.0
"""The statements over one table: pages by key, rows by their keys, and what writes them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Delete,
    Engine,
    MetaData,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    func,
    inspect,
    literal,
    or_,
    select,
    tuple_,
    update,
)  # fmt: skip
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import NoSuchTableError

from nerv.errors import Invalid, Misconfigured
from nerv.sync.sides.sql.values import from_json, is_plain, python_type, to_json

_INSERTS: Mapping[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


class Found(NamedTuple):
    """A row as it stands: its values of JSON, those of the version and the stamp column, and whether it is in the scope."""

    row: dict[str, Any]
    version: Any
    stamp: Any
    scoped: bool


class Statements:
    """What is asked of a table. `hidden` columns are no part of a row: its version and its stamp."""

    def __init__(
        self, table: Table, identifiers: Sequence[str], version: str | None, stamp: str | None,
        scope: ColumnElement[bool] | None,
    ) -> None:  # fmt: skip
        self.table = table
        self.ids = [table.c[name] for name in identifiers]
        self.version = None if version is None else table.c[version]
        self.stamp = None if stamp is None else table.c[stamp]
        self._scope = scope
        self.columns = [column for column in table.c if column.name not in (version, stamp)]
        self._convert = [(n, str(column.name)) for n, column in enumerate(self.columns) if not is_plain(column)]
        self._names = [str(column.name) for column in self.columns]  # quoted names are no keys of JSON

    def page(self, after: Sequence[Any] | None, size: int) -> Select[Any]:
        """The rows after a key, in its order."""
        asked = select(*self.columns).order_by(*self.ids).limit(size)
        if self._scope is not None:
            asked = asked.where(self._scope)
        if after is None:
            return asked
        values = [literal(value, column.type) for column, value in zip(self.ids, after, strict=True)]
        if len(values) == 1:
            return asked.where(self.ids[0] > values[0])
        return asked.where(tuple_(*self.ids) > tuple_(*values))

    def keyless(self) -> Select[Any] | None:
        """Counts rows whose key is null, where there can be any: in no page they would stand."""
        nullable = [column for column in self.ids if column.nullable]
        return (
            select(func.count()).select_from(self.table).where(or_(*(c.is_(None) for c in nullable)))
            if nullable
            else None
        )

    def cursor(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """What the next page goes on after: the key of the last row of this one."""
        return tuple(from_json(column, row[column.name]) for column in self.ids)

    def values(self, rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Rows of the columns as JSON has them."""
        names = self._names
        if not self._convert:
            return [dict(zip(names, row, strict=True)) for row in rows]
        found = []
        for row in rows:
            values = dict(zip(names, row, strict=True))
            for number, name in self._convert:
                values[name] = to_json(row[number])
            found.append(values)
        return found

    def by_key(self, connection: Connection, keys: Sequence[str], *, lock: bool = False) -> dict[str, Found]:
        """The rows of these keys, whether they are in the scope or not; locked until the end of the transaction."""
        wanted = {ids: key for key in keys if (ids := self.ids_of(key)) is not None}
        if not wanted:
            return {}
        extra = [column for column in (self.version, self.stamp) if column is not None]
        scoped = literal(True) if self._scope is None else func.coalesce(self._scope, False)
        asked = select(*self.columns, *extra, scoped, *self.ids).where(self._among(list(wanted)))
        found: dict[str, Found] = {}
        wide = len(self.columns)
        for row in connection.execute(asked.with_for_update(of=self.table) if lock else asked):
            [values] = self.values([row[:wide]])
            rest = dict(zip([column.name for column in extra], row[wide : wide + len(extra)], strict=True))
            key = wanted.get(tuple(row[wide + len(extra) + 1 :]))
            if key is not None:  # a database may take for equal what is not: 'a' and 'A'
                found[key] = Found(
                    values,
                    None if self.version is None else rest[self.version.name],
                    None if self.stamp is None else rest[self.stamp.name],
                    bool(row[wide + len(extra)]),
                )
        return found

    def ids_of(self, key: str) -> tuple[Any, ...] | None:
        """The identifiers of a key as the columns have them; None for a key that no row of the table can have."""
        texts = [key]
        if len(self.ids) > 1:
            try:
                texts = orjson.loads(key)
            except orjson.JSONDecodeError:
                return None
            if not isinstance(texts, list) or len(texts) != len(self.ids):
                return None
        found = []
        for column, text in zip(self.ids, texts, strict=True):
            value: Any = text
            if python_type(column) is int:
                value = int(text) if text.lstrip("-").isdecimal() else None
                if str(value) != text:  # 007 is another key than 7
                    return None
            try:
                found.append(from_json(column, value))
            except Invalid:
                return None
        return tuple(found)

    def insert(
        self, connection: Connection, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
    ) -> set[tuple[Any, ...]]:
        """Put in rows where there are none of their keys; answers the keys of those that were put in."""
        made = _INSERTS[connection.dialect.name](self.table).on_conflict_do_nothing(index_elements=self.ids)
        done = connection.execute(made.returning(*self.ids), [{name: row[name] for name in names} for row in rows])
        return {tuple(row) for row in done}

    def update(self, names: Sequence[str]) -> Update:
        """Gives a row (`id_0` and so on) new values (`to_` and the name)."""
        return update(self.table).where(self._is()).values({name: bindparam(f"to_{name}") for name in names})

    def delete(self) -> Delete:
        """Removes a row (`id_0` and so on)."""
        return delete(self.table).where(self._is())

    def _is(self) -> ColumnElement[bool]:
        return and_(*(column == bindparam(f"id_{number}") for number, column in enumerate(self.ids)))

    def _among(self, keys: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
        if len(self.ids) == 1:
            return self.ids[0].in_([key[0] for key in keys])
        return tuple_(*self.ids).in_(keys)


def reflected(engine: Engine, name: str, identifiers: Sequence[str]) -> Table:
    """A table as the database has it. Raises Misconfigured where it has not, or where its keys need not be unique."""
    schema, _, plain = name.rpartition(".")
    try:
        table = Table(plain, MetaData(), schema=schema or None, autoload_with=engine)
    except NoSuchTableError:
        raise Misconfigured(f"the database has no table {name}") from None
    missing = [column for column in identifiers if column not in table.c]
    if missing:
        raise Misconfigured(f"table {name} has no column {', '.join(missing)}; it has {', '.join(table.c.keys())}")
    inspector = inspect(engine)
    unique = [set(inspector.get_pk_constraint(plain, schema=table.schema)["constrained_columns"])]
    unique += [set(one["column_names"]) for one in inspector.get_unique_constraints(plain, schema=table.schema)]
    unique += [
        set(filter(None, one["column_names"]))
        for one in inspector.get_indexes(plain, schema=table.schema)
        if one["unique"]
    ]
    if set(identifiers) not in unique:
        raise Misconfigured(
            f"the key of table {name} is {', '.join(identifiers)}, and nothing keeps it unique; it must be the primary key "
            "or have a unique index"
        )
    return table
