# SPDX-License-Identifier: Apache-2.0
"""The port `Records`: in memory, and in a RocksDB folder."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nerv.errors import Misconfigured, Unavailable
from nerv.protocols.records import Records
from nerv.sync.records import MemoryRecords
from nerv.sync.records.rocks import RocksRecords
from nerv.testing.contracts.records import RecordsContract


class TestMemoryRecords(RecordsContract):
    """Records in memory keep the contract."""

    @pytest.fixture
    def records(self) -> Records:
        """New for each test."""
        return MemoryRecords()


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
