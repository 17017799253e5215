# SPDX-License-Identifier: Apache-2.0
"""The ports `History` and `Snapshots`: in memory, in SQLite, and over HTTP from a real *temporal* on a real Kafka."""

import asyncio
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from nerv.client import Client, Commands
from nerv.client.streams import Streams
from nerv.dev.mesh import LocalMesh
from nerv.errors import Misconfigured, Unavailable, VersionConflict
from nerv.history.memory import MemoryHistory
from nerv.history.sqlite import SqliteHistory
from nerv.kafka import KafkaSettings
from nerv.protocols import Appended, AppendRequest, Expected, History, Snapshots
from nerv.protocols.history import Expect
from nerv.testing.contracts.history import HistoryContract, made
from nerv.testing.contracts.snapshots import SnapshotsContract
from nerv.testing.contracts.subscribable import SubscribableContract, SubscribableHistory

APPS = Path(__file__).parent.parent / "apps"


class TestMemoryHistory(HistoryContract, SubscribableContract):
    """The memory history keeps both contracts."""

    @pytest.fixture
    def history(self) -> SubscribableHistory:
        """A new one for each test."""
        return MemoryHistory()


class TestMemorySnapshots(SnapshotsContract):
    """The memory history keeps snapshots."""

    @pytest.fixture
    def snapshots(self) -> Snapshots:
        """A new one for each test."""
        return MemoryHistory()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteHistory]:
    """A file for each test."""
    async with SqliteHistory(tmp_path / "history.db") as history:
        yield history


class TestSqliteSnapshots(SnapshotsContract):
    """The SQLite history keeps snapshots."""

    @pytest.fixture
    def snapshots(self, sqlite: SqliteHistory) -> Snapshots:
        """A file for each test."""
        return sqlite


DYING = """
import asyncio, os, sys
from nerv.history.sqlite import SqliteHistory
from nerv.protocols import AppendRequest
from nerv.testing.contracts.history import made
async def main():
    async with SqliteHistory(sys.argv[1]) as history:
        for number in range(10_000):
            await history.append([AppendRequest("thing-1", [made(), made()])])
            print(2 * number + 2, flush=True)
asyncio.run(main())
"""


class TestSqliteHistory(HistoryContract, SubscribableContract):
    """The SQLite history keeps both contracts."""

    @pytest.fixture
    def history(self, sqlite: SqliteHistory) -> SubscribableHistory:
        """A file for each test."""
        return sqlite

    async def test_what_was_acknowledged_outlives_a_kill(self, tmp_path: Path) -> None:
        """After kill -9 every acknowledged event is there, and no half of an append."""
        path = tmp_path / "killed.db"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", DYING, str(path), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        lines = [await child.stdout.readline() for _ in range(50)]
        child.kill()
        lines += (await child.stdout.read()).splitlines(keepends=True)
        await child.wait()
        acknowledged = max(int(line) for line in lines if line.endswith(b"\n"))
        async with SqliteHistory(path) as history:
            versions = [event.sequence async for event in history.read("thing-1")]
        assert versions == list(range(1, len(versions) + 1))
        assert len(versions) % 2 == 0
        assert len(versions) >= acknowledged >= 100

    async def test_two_processes_share_a_file(self, tmp_path: Path) -> None:
        """Two holds on one file see each other's events, and one version is written once."""
        path = tmp_path / "shared.db"
        async with SqliteHistory(path) as one, SqliteHistory(path) as two:
            requests = [[AppendRequest("thing-1", [made()], Expected(Expect.EXACT, n))] for n in range(20)]
            for request in requests:
                other = [AppendRequest("thing-1", [made()], request[0].expected)]
                [[first], [second]] = await asyncio.gather(one.append(request), two.append(other))
                assert isinstance(first, VersionConflict) != isinstance(second, VersionConflict)
            assert [e.sequence async for e in two.read("thing-1")] == list(range(1, 21))

    async def test_a_caller_that_goes_away_leaves_it_usable(self, sqlite: SqliteHistory) -> None:
        """A cancelled append is whole or not there, and the next one works."""
        for _ in range(20):
            task = asyncio.create_task(sqlite.append([AppendRequest("thing-1", [made(), made()])]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        [outcome] = await sqlite.append([AppendRequest("thing-1", [made()])])
        assert isinstance(outcome, Appended)
        assert outcome.last_version % 2 == 1

    async def test_a_file_that_is_no_history_is_refused(self, tmp_path: Path) -> None:
        """Another file, or one of a later schema, is not touched."""
        (tmp_path / "text.db").write_text("no database at all, but long enough to be read as a header of one" * 10)
        with pytest.raises(Misconfigured, match="history file"):
            await SqliteHistory(tmp_path / "text.db").__aenter__()
        with sqlite3.connect(tmp_path / "later.db") as db:
            db.execute("PRAGMA user_version = 7")
        db.close()
        with pytest.raises(Misconfigured, match="schema 7"):
            await SqliteHistory(tmp_path / "later.db").__aenter__()

    async def test_one_that_is_not_open_says_so(self, tmp_path: Path) -> None:
        """Before and after its block."""
        history = SqliteHistory(tmp_path / "history.db")
        with pytest.raises(Unavailable, match="async with"):
            await history.append([])


class OverKafka:
    """Appends as commands over Kafka; reads over HTTP."""

    def __init__(self, commands: Commands, streams: Streams) -> None:
        self.append = commands.append
        self.read = streams.read
        self.read_category = streams.read_category
        self.latest = streams.latest


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """One service for all tests; their streams have names of their own."""
    async with LocalMesh(
        app="ledger:app",
        services=["temporal"],
        folder=tmp_path_factory.mktemp("temporal") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS)},
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: LocalMesh) -> AsyncIterator[Client]:
    """The mesh over HTTP."""
    async with Client({"temporal": mesh.url("temporal")}) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def commands(mesh: LocalMesh, client: Client) -> AsyncIterator[Commands]:
    """The mesh over Kafka."""
    async with client.commands(KafkaSettings(bootstrap_servers=mesh.context["kafka"]), mesh.mesh) as commands:
        yield commands


@pytest.mark.asyncio(loop_scope="module")
class TestTemporal(HistoryContract, SubscribableContract):
    """Temporal, behind its client, keeps both contracts."""

    @pytest.fixture
    def history(self, client: Client) -> SubscribableHistory:
        """The same service for each test."""
        return client.streams


@pytest.mark.asyncio(loop_scope="module")
class TestTemporalOverKafka(HistoryContract):
    """Temporal, asked by commands over Kafka, keeps the contract."""

    @pytest.fixture
    def history(self, commands: Commands, client: Client) -> History:
        """The same service for each test."""
        return OverKafka(commands, client.streams)
