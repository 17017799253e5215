# SPDX-License-Identifier: Apache-2.0
"""The port `Records`: in memory, in a RocksDB folder, and in a real Redis."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nerv.errors import Misconfigured, Unavailable
from nerv.protocols.records import Records
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from nerv.sync.records import MemoryRecords
from nerv.sync.records.redis import RedisRecords
from nerv.sync.records.rocks import RocksRecords
from nerv.testing.contracts.records import RecordsContract

KEY = "records:{a/left}"


@pytest.fixture
async def redis(redis_url: str, mesh_name: str) -> AsyncIterator[Redis]:
    """Connections to a real server; the key is deleted before and afterwards."""
    client = connect(RedisSettings(url=redis_url), mesh_name)
    await client.unlink(KEY)
    yield client
    await client.unlink(KEY)
    await client.aclose()


class TestMemoryRecords(RecordsContract):
    """Records in memory keep the contract."""

    @pytest.fixture
    def records(self) -> Records:
        """New for each test."""
        return MemoryRecords()


class TestRedisRecords(RecordsContract):
    """Records in Redis keep the contract."""

    @pytest.fixture
    async def records(self, redis: Redis) -> Records:
        """Under a key of their own."""
        return RedisRecords(redis, KEY)

    async def test_a_drop_takes_names_as_they_are(self, records: Records) -> None:
        """What means something to a search of Redis, too; and more of them than one go of it."""
        names = [b"t[1]*?\\%d" % n for n in range(2500)]
        await records.write(dict.fromkeys([*names, b"t1", b"tx"], b"1"), head=b"one", after=None)
        await records.drop(b"t[1]*?\\", after=b"one")
        assert set(await records.read(names)) == {None}
        assert await records.read([b"t1", b"tx"]) == [b"1", b"1"]

    async def test_a_write_whose_answer_was_lost_is_done_once(self, records: Records) -> None:
        """The same one again finds its own head, and says that it is done."""
        await records.write({b"a": b"1"}, head=b"one", after=None)
        await records.write({b"a": b"1"}, head=b"one", after=None)
        assert await records.read([b"a"]) == [b"1"]


class TestRocksRecords(RecordsContract):
    """Records in a folder keep the contract."""

    @pytest.fixture
    async def records(self, tmp_path: Path) -> AsyncIterator[Records]:
        """In a folder of their own."""
        async with RocksRecords(tmp_path / "digests") as records:
            yield records


async def test_a_folder_is_there_again_after_a_restart(tmp_path: Path) -> None:
    """With its records and its head."""
    async with RocksRecords(tmp_path / "r") as records:
        await records.write({b"a": b"1"}, head=b"one", after=None)
    async with RocksRecords(tmp_path / "r") as records:
        assert (await records.head(), await records.read([b"a"])) == (b"one", [b"1"])


async def test_a_folder_is_for_one_at_a_time(tmp_path: Path) -> None:
    """A second one is told so, and one that is not open, too."""
    records = RocksRecords(tmp_path / "r")
    with pytest.raises(Unavailable, match="async with"):
        await records.head()
    async with records:
        with pytest.raises(Misconfigured, match="one process"):
            await RocksRecords(tmp_path / "r").__aenter__()


async def test_what_is_no_folder_of_records_is_refused(tmp_path: Path) -> None:
    """By name."""
    (tmp_path / "file").write_text("no database", encoding="utf-8")
    with pytest.raises(Misconfigured, match="file"):
        await RocksRecords(tmp_path / "file").__aenter__()


WRITER = """
import asyncio, itertools, os, signal, sys
from nerv.sync.records.rocks import RocksRecords

async def main():
    records = await RocksRecords(sys.argv[1]).__aenter__()
    head = None
    for number in itertools.count():
        new = b"%d" % number
        await records.write({b"a": new, b"b": new, b"c%d" % number: new}, head=new, after=head)
        head = new
        print(number, flush=True)

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """Killed while it writes: every answered write is there, and the last one is whole or not there at all."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(tmp_path / "r"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while int(await process.stdout.readline()) < 50:
            pass
        process.kill()
        said = (await process.stdout.read()).split()
        await process.wait()
    async with RocksRecords(tmp_path / "r") as records:
        head = await records.head()
        assert head is not None
        assert int(head) >= int(said[-1] if said else 50)
        assert await records.read([b"a", b"b", b"c%s" % head, b"c0", b"c50"]) == [head, head, head, b"0", b"50"]
        assert await records.read([b"c%d" % (int(head) + 1)]) == [None]
