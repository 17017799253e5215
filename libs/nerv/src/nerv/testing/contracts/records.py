# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.records.Records` does."""

import asyncio

import pytest

from nerv.errors import VersionConflict
from nerv.protocols.records import Records
from nerv.types import Health


class RecordsContract:
    """Inherit it and give a fixture `records`, empty for each test."""

    async def test_nothing_is_there_at_first(self, records: Records) -> None:
        """No head, and None under every name."""
        assert await records.head() is None
        assert await records.read([b"a", b"b"]) == [None, None]
        assert await records.read([]) == []

    async def test_what_is_written_is_read(self, records: Records) -> None:
        """In the order of the names, with the head; any bytes do, empty ones among them."""
        await records.write({b"a": b"1", b"\x00\xff": b"", b"h": b"\x00"}, head=b"one", after=None)
        assert await records.head() == b"one"
        assert await records.read([b"h", b"x", b"\x00\xff", b"a"]) == [b"\x00", None, b"", b"1"]

    async def test_a_write_replaces_and_removes(self, records: Records) -> None:
        """What it does not name stays."""
        await records.write({b"a": b"1", b"b": b"2", b"c": b"3"}, head=b"one", after=None)
        await records.write({b"a": b"9", b"b": None, b"x": None}, head=b"two", after=b"one")
        assert await records.read([b"a", b"b", b"c", b"x"]) == [b"9", None, b"3", None]

    async def test_a_write_on_another_head_changes_nothing(self, records: Records) -> None:
        """Neither a record nor the head; nor does a drop."""
        await records.write({b"a": b"1"}, head=b"one", after=None)
        for after in (None, b"zero"):
            with pytest.raises(VersionConflict):
                await records.write({b"a": b"2", b"b": b"2"}, head=b"two", after=after)
            with pytest.raises(VersionConflict):
                await records.drop(b"a", after=after)
        assert (await records.head(), await records.read([b"a", b"b"])) == (b"one", [b"1", None])

    async def test_of_writers_on_one_head_one_succeeds(self, records: Records) -> None:
        """However many try together."""

        async def write(number: int) -> bool:
            try:
                await records.write({b"a": b"%d" % number}, head=b"head-%d" % number, after=None)
            except VersionConflict:
                return False
            return True

        won = await asyncio.gather(*map(write, range(10)))
        assert sum(won) == 1
        winner = won.index(True)
        assert (await records.head(), await records.read([b"a"])) == (b"head-%d" % winner, [b"%d" % winner])

    async def test_they_describe_themselves(self, records: Records) -> None:
        """As a component that works."""
        assert records.describe().health is Health.OK

    async def test_a_drop_removes_what_begins_so(self, records: Records) -> None:
        """Nothing else, and the head stays."""
        names = [b"t/1", b"t/2", b"t", b"u/1", b"s\xff"]
        await records.write(dict.fromkeys(names, b"1"), head=b"one", after=None)
        await records.drop(b"t/", after=b"one")
        assert await records.read(names) == [None, None, b"1", b"1", b"1"]
        assert await records.head() == b"one"
