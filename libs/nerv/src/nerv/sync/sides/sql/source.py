# SPDX-License-Identifier: Apache-2.0
"""A table as a side: pages by key, point reads, writes on condition, and a change feed by triggers."""

import asyncio
import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import orjson
from sqlalchemy import ColumnElement, Connection, Engine, Table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from nerv.cancelling import finished
from nerv.errors import Invalid, Misconfigured, NervError, UnknownOutcome, VersionConflict
from nerv.protocols.side import Action, Changes, Entity, Position, Step, Version, WriteOutcome, Written
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused
from nerv.sync.reading import FaultyRow
from nerv.sync.sides.paged import Page, PagedSource
from nerv.sync.sides.sql.database import READING, WRITING, opened
from nerv.sync.sides.sql.faults import REFUSED, database_error
from nerv.sync.sides.sql.feed import TriggerFeed
from nerv.sync.sides.sql.statements import Found, Statements, reflected
from nerv.sync.sides.sql.values import from_json
from nerv.sync.tree import digest
from nerv.types import Description, Stamp, utc_now

T = TypeVar("T")

PAGE_ROWS = 5000
KEYS = 500  # of one statement


class SqlSource(PagedSource):
    """A table of PostgreSQL or SQLite. `url` is `postgresql://user@host/database` or `sqlite:///file.db`, or what gives it
    when it is called: a classmethod that reads a secret from its file.

    A row is every column but those named here: `version`, a whole number that each write counts up, and `stamp`, the instant of
    the latest change. Without a version a row is written only if all its values still are as they were seen. With `feed` the
    table gets triggers that note what changes (see `nerv.sync.sides.sql.feed`). `scope` narrows the rows that are looked at;
    outside of it nothing is written. Columns that are not in a row written keep their values, or their defaults. Its few
    connections are closed at the end of `async with`.
    """

    url: ClassVar[str | Callable[[], str]]
    table: ClassVar[str]
    version: ClassVar[str | None] = None
    stamp: ClassVar[str | None] = None
    feed: ClassVar[bool] = False
    writable = True

    def __init__(self) -> None:
        super().__init__()
        self._engine: Engine | None = None
        self._statements: Statements | None = None
        self._written = self._conflicts = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.to_thread(engine.dispose)

    def scope(self, table: Table) -> ColumnElement[bool] | None:
        """Which rows this side is about: a condition over the columns, such as `table.c.country == "US"`; None for all."""
        return None

    async def page(self, cursor: Any) -> Page:
        """The rows after a key (see `PagedSource.page`)."""

        def work(connection: Connection) -> Page:
            statements = self._of(connection.engine)
            keyless = statements.keyless() if cursor is None else None
            if keyless is not None and connection.execute(keyless).scalar():
                raise LoadRefused(f"table {self.table} has rows whose key ({', '.join(self.identifiers)}) is null")
            rows = statements.values(connection.execute(statements.page(cursor, PAGE_ROWS)).all())
            return Page(rows, statements.cursor(rows[-1]) if len(rows) == PAGE_ROWS else None)

        return await self._run(work, READING)

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The rows of these keys as they are now (see `Side.fetch`)."""
        found: dict[str, Entity] = {}
        for start in range(0, len(keys), KEYS):
            rows = await self._run(partial(self._rows, keys[start : start + KEYS]))
            found |= {key: self._entity(key, row) for key, row in rows.items()}
        self._read += len(found)
        return [found.get(key) or Entity(key, None) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """What the triggers noted (see `Side.changes`); None without a feed, or where it was begun anew since."""
        if not self.feed:
            return None
        if after is None:
            return Changes((), await self._position())

        told = await self._run(lambda connection: self._feed(connection).since(connection, after))
        return None if told is None else Changes([self._key(text) for text in told[1]], told[0])

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write each row that still is as it was seen, all in one transaction; what the database refuses, alone."""
        outcomes: list[WriteOutcome] = []
        for start in range(0, len(steps), KEYS):
            chunk = steps[start : start + KEYS]
            try:
                outcomes += await finished(asyncio.ensure_future(asyncio.to_thread(self._write, chunk)))
            except NervError as error:
                outcomes += [error] * len(chunk)
        self._written += sum(1 for outcome in outcomes if isinstance(outcome, Written))
        self._conflicts += sum(1 for outcome in outcomes if isinstance(outcome, VersionConflict))
        return outcomes

    def describe(self) -> Description:
        """The side as data."""
        told = super().describe()
        counters = {**told.counters, "written": self._written, "conflicts": self._conflicts}
        return Description(told.kind, self.name, (self.table,), (self.table,), counters=counters)

    async def _run(self, work: Callable[[Connection], T], options: Mapping[str, Any] = READING) -> T:
        return await asyncio.to_thread(self._transaction, work, options)

    def _transaction(self, work: Callable[[Connection], T], options: Mapping[str, Any]) -> T:
        """Do it in one transaction, and commit. An error of the commit is an unknown outcome."""
        try:
            with self._open().connect().execution_options(**options) as connection:
                if connection.dialect.name == "postgresql" and options is READING:
                    connection = connection.execution_options(
                        isolation_level="REPEATABLE READ"
                    )  # one picture of it all
                found = work(connection)
                try:
                    connection.commit()
                except REFUSED:
                    raise
                except DBAPIError as error:
                    raise UnknownOutcome(f"{self.name}: the commit was not confirmed: {error.orig}") from error
                return found
        except SQLAlchemyError as error:
            raise database_error(self.name, error) from error

    def _open(self) -> Engine:
        if self._engine is None:
            given = type(self).url  # of the class, so that a function given as `url` is not bound to this object
            self._engine = opened(given() if callable(given) else given)
            weakref.finalize(self, self._engine.dispose)
        return self._engine

    def _of(self, engine: Engine) -> Statements:
        if self._statements is None:
            table = reflected(engine, self.table, self.identifiers)
            absent = [name for name in (self.version, self.stamp) if name is not None and name not in table.c]
            if absent:
                raise Misconfigured(f"table {self.table} has no column {', '.join(absent)}")
            self._statements = Statements(table, self.identifiers, self.version, self.stamp, self.scope(table))
        return self._statements

    async def _position(self) -> Position:
        """Where the feed stands, which is installed where it is not. Its own transaction must be over by then."""
        for _ in range(2):
            found = await self._run(lambda connection: self._feed(connection).position(connection))
            if found is not None:
                return found
            await self._run(lambda connection: self._feed(connection).install(connection), WRITING)
        raise Misconfigured(f"the triggers of table {self.table} are not there, though they were just made")

    def _feed(self, connection: Connection) -> TriggerFeed:
        return TriggerFeed(self._of(connection.engine).table, self.identifiers)

    def _rows(self, keys: Sequence[str], connection: Connection) -> dict[str, Found]:
        return self._of(connection.engine).by_key(connection, keys)

    def _key(self, noted: str) -> str:
        return self.key_of(dict(zip(self.identifiers, orjson.loads(noted), strict=True)))

    def _entity(self, key: str, found: Found) -> Entity:
        row: Any = None
        if found.scoped:
            try:
                row = self.entity(found.row).row
            except FaultyRow as faulty:
                raise LoadRefused(f"{self.name} {key}: {faulty.faults[0][0]}: {faulty.faults[0][1]}") from None
        return Entity(key, row, _version(found), _stamp(found))

    def _write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        try:
            return self._transaction(lambda connection: self._perform(connection, steps), WRITING)
        except Invalid as error:
            if len(steps) == 1:
                return [error]
        # One of them is not to the database's liking, and has undone them all: each alone, then.
        return [outcome for step in steps for outcome in self._write([step])]

    def _perform(self, connection: Connection, steps: Sequence[Step]) -> list[WriteOutcome]:
        statements = self._of(connection.engine)
        keys = [step.key for step in steps]
        before = statements.by_key(connection, keys, lock=True)
        outcomes: dict[int, WriteOutcome] = {}
        writes: dict[tuple[Action, tuple[str, ...]], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
        for number, step in enumerate(steps):
            try:
                values = self._values(statements, step, before.get(step.key))
            except (VersionConflict, Invalid) as error:
                outcomes[number] = error
                continue
            names = tuple(name for name in values if not name.startswith("id_"))
            writes[step.action, names].append((number, values))
        for (action, names), given in writes.items():
            rows = [values for _, values in given]
            if action is Action.CREATE:
                made = statements.insert(connection, names, rows)
                for number, values in given:
                    if tuple(values[column.name] for column in statements.ids) not in made:
                        outcomes[number] = VersionConflict(f"{self.name}: {steps[number].key} is there already")
            elif action is Action.DELETE:
                connection.execute(statements.delete(), rows)
            elif names:
                plain = [name.removeprefix("to_") for name in names]
                connection.execute(statements.update(plain), rows)
        after = statements.by_key(connection, keys)
        self._read += len(before) + len(after)
        for number, step in enumerate(steps):
            if number not in outcomes:
                outcomes[number] = self._done(step, after.get(step.key))
        return [outcomes[number] for number in range(len(steps))]

    def _values(self, statements: Statements, step: Step, found: Found | None) -> dict[str, Any]:
        """The parameters of the statement that performs a step. Raises VersionConflict, Invalid."""
        seen = None if found is None else _version(found)
        if seen != step.version:
            raise VersionConflict(f"{self.name}: {step.key} is not as it was seen")
        ids = statements.ids_of(step.key)
        if ids is None:
            raise Invalid(f"{self.name}: no row can have the key {step.key!r:.80}")
        if found is not None and not found.scoped:
            raise Invalid(f"{self.name}: {step.key} is there, but outside of the scope; it is left as it is")
        where = {f"id_{number}": value for number, value in enumerate(ids)}
        if step.action is Action.DELETE or step.after is None:
            return where
        row = orjson.loads(step.after)
        computed = self.schema.computed
        unknown = [name for name in row if name not in statements.table.c and name not in computed]
        if unknown:
            raise Invalid(f"{self.name}: table {self.table} has no column {', '.join(unknown)}")
        values = {
            c.name: from_json(c, row[c.name]) for c in statements.columns if c.name in row and c.name not in computed
        }
        values |= dict(zip(self.identifiers, ids, strict=True))
        values |= self._hidden(statements, step, found)
        if step.action is Action.CREATE:
            return values
        return {**where, **{f"to_{name}": value for name, value in values.items() if name not in self.identifiers}}

    def _hidden(self, statements: Statements, step: Step, found: Found | None) -> dict[str, Any]:
        """The version and the stamp that a written row gets."""
        values: dict[str, Any] = {}
        if statements.version is not None:
            values[statements.version.name] = 1 if found is None else int(found.version) + 1
        if statements.stamp is not None:
            instant = step.stamp.instant if step.stamp is not None else utc_now()
            zoned = getattr(statements.stamp.type, "timezone", False)
            values[statements.stamp.name] = instant if zoned else instant.astimezone(UTC).replace(tzinfo=None)
        return values

    def _done(self, step: Step, found: Found | None) -> WriteOutcome:
        if step.action is Action.DELETE:
            return Written(None)
        if found is None or not found.scoped:
            raise Invalid(f"{self.name}: {step.key} would not be in the scope of the side once it is written")
        return Written(_version(found))


def _version(found: Found) -> Version:
    if found.version is not None:
        return int(found.version)
    return digest(canonical(found.row)).hex()


def _stamp(found: Found) -> Stamp | None:
    if not isinstance(found.stamp, datetime):
        return None
    return Stamp.of(found.stamp if found.stamp.tzinfo is not None else found.stamp.replace(tzinfo=UTC))
