# SPDX-License-Identifier: Apache-2.0
"""Connections to a database: few, with time limits, and transactions of SQLite that are what they are called."""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from nerv.errors import Misconfigured

CONNECTIONS = 4
CONNECT_SECONDS = 10
STATEMENT_SECONDS = 300
KINDS = ("postgresql", "sqlite")

READING: dict[str, Any] = {"nerv_begin": "BEGIN"}
WRITING: dict[str, Any] = {
    "nerv_begin": "BEGIN IMMEDIATE"
}  # SQLite: who only reads at first may find the door shut later


def opened(url: str) -> Engine:
    """An engine; it connects when it is used. Raises Misconfigured for an address that it cannot serve."""
    try:
        address = make_url(url)
        kind = address.get_backend_name()
        if kind == "postgresql":
            return _postgresql(address.set(drivername="postgresql+psycopg"))
        if kind == "sqlite" and address.database not in (None, "", ":memory:"):
            return _sqlite(address)
    except ArgumentError:
        kind = "one that cannot be read"
    except ModuleNotFoundError as error:
        raise Misconfigured(f"a database needs {error.name}: pip install 'nerv-mesh[sql]'") from None
    raise Misconfigured(
        f"the url of a source is {kind}; it must be postgresql://user:password@host/database or sqlite:///file.db"
    )


def _postgresql(address: URL) -> Engine:
    # Statements are not prepared by name: behind a pooler such as PgBouncer another session would not know them.
    told = {
        "connect_timeout": CONNECT_SECONDS,
        "options": f"-c statement_timeout={STATEMENT_SECONDS * 1000}",
        "prepare_threshold": None,
    }
    return create_engine(address, pool_size=CONNECTIONS, max_overflow=0, pool_pre_ping=True, connect_args=told)


def _sqlite(address: URL) -> Engine:
    told = {"timeout": CONNECT_SECONDS}
    engine = create_engine(address, pool_size=CONNECTIONS, max_overflow=0, connect_args=told)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # or sqlite3 begins transactions when it thinks fit

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("nerv_begin", "BEGIN"))

    return engine
