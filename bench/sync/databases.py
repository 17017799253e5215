# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL to SQLite: a port, so many rows, so many changed. Both are loaded once; then rows are changed in PostgreSQL, and
a sync brings them over, by the feed and the digests. Prints the share of all rows that were read from the left and from the
right side, as the sides count them, that of PostgreSQL's own count, the seconds of that sync, and of the first one.
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import psycopg

from bench.sync.rows import ATTRIBUTES, rows
from bench.temporal.postgres import USER
from nerv.perspectives import DiffSchema
from nerv.sync.sides.sql import SqlSource
from nerv.sync.synchronizer import DiffSynchronizer

COLUMNS = ("tailnum", *ATTRIBUTES)
DDL = """CREATE TABLE plane (tailnum text PRIMARY KEY, year integer, type text, manufacturer text, model text,
 engines integer, seats integer, speed integer, engine text)"""
SCHEMA = DiffSchema("plane", ("tailnum",), ATTRIBUTES)
READ = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'plane'"


class Planes(SqlSource):
    """The table, in either database."""

    table = "plane"
    category = "plane"
    key = "tailnum"
    feed = True
    address: ClassVar[str]

    @classmethod
    def url(cls) -> str:
        """Told by the run."""
        return cls.address


class Left(Planes):
    """PostgreSQL."""


class Right(Planes):
    """SQLite."""


def fill(server: str, file: Path, count: int) -> None:
    """The same rows in both."""
    with psycopg.connect(server) as db, db.cursor() as cursor:
        cursor.execute(DDL)
        with cursor.copy("COPY plane FROM STDIN") as copy:
            for row in rows(count):
                copy.write_row(tuple(row.values()))
    with closing(sqlite3.connect(file)) as lite, lite:
        lite.execute(DDL)
        lite.executemany(
            "INSERT INTO plane VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (tuple(r.values()) for r in rows(count))
        )


def counted(server: str) -> int:
    """How many rows of the table PostgreSQL has read for anybody; connections have told it when they are closed."""
    with psycopg.connect(server) as db:
        found = db.execute(READ).fetchone()
        return 0 if found is None else int(found[0])


async def run(server: str, file: Path, count: int, changed: int) -> list[float]:
    """Sync once, change, sync again."""
    Left.address, Right.address = server, f"sqlite:///{file}"
    left, right = Left(), Right()
    sync = DiffSynchronizer("planes", left, right, SCHEMA)
    began = time.perf_counter()
    assert not (await sync.plan()).steps
    first = time.perf_counter() - began
    async with left:  # at the end of which PostgreSQL is told what was read
        pass
    with psycopg.connect(server) as db:
        step = count // changed
        db.execute("UPDATE plane SET seats = seats + 1 WHERE substr(tailnum, 2)::int %% %s = 0", (step,))
    before, ours = counted(server), [side.describe().counters["read"] for side in (left, right)]
    began = time.perf_counter()
    tally = await sync.sync()
    seconds = time.perf_counter() - began
    async with left, right:
        pass
    assert tally.counts()["done"] == len(range(0, count, step))
    assert not (await sync.plan()).steps
    read = [side.describe().counters["read"] - was for side, was in zip((left, right), ours, strict=True)]
    async with left, right:
        pass
    share = [100 * rows_read / count for rows_read in (*read, counted(server) - before)]
    return [*share, seconds, first]


def main() -> None:
    """Run, and print the figures."""
    port, count, changed = (int(text) for text in sys.argv[1:4])
    server = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    with psycopg.connect(server) as db:
        db.execute("DROP TABLE IF EXISTS plane")
    with tempfile.TemporaryDirectory(prefix="nerv-bench-sync-") as folder:
        file = Path(folder) / "planes.db"
        fill(server, file, count)
        sys.stdout.write(" ".join(map(str, asyncio.run(run(server, file, count, changed)))) + "\n")


if __name__ == "__main__":
    main()
