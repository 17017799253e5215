# SPDX-License-Identifier: Apache-2.0
"""What comes is counted by type and second, in tables of Faust."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from nerv_projector.faust_app import FaustHost
from nerv_projector.mesh.counting import HOT, KEPT_SECONDS, SHOWN_SECONDS, CountSession, Tables
from tests.unit.projector.records_in_memory import Record, event, record

NOW = 1_000_000.5  # in the middle of a second
LAST = 999_999  # the last whole one


@pytest.fixture
async def tables() -> AsyncIterator[Tables]:
    """Tables of a Faust app that runs."""
    host = FaustHost("m")
    made = Tables(host.windows("types", KEPT_SECONDS), host.windows("keys", KEPT_SECONDS))
    async with host:
        yield made


def at(second: int, kind: str, stream: str, partition: int = 0) -> Record:
    """A record that was written in a second."""
    made = record(event(kind, stream, {}), offset=0, partition=partition)
    made.timestamp_ms = second * 1000 + 7
    return made


async def test_each_second_is_counted_by_type(tables: Tables) -> None:
    """Of each partition, in order; the present second, which is not over, is left out."""
    session = CountSession(tables, 4)
    await session.take(
        [at(LAST - 1, "a", "s-1"), at(LAST, "a", "s-1"), at(LAST, "b", "s-2", 1), at(LAST + 1, "a", "s-1")]
    )
    await session.take([at(LAST, "a", "s-3")])
    found = tables.counts(NOW)
    assert found.types[0]["a"] == [0] * (SHOWN_SECONDS - 2) + [1, 2]
    assert found.types[1]["b"] == [0] * (SHOWN_SECONDS - 1) + [1]
    assert sum(found.types[0]["a"]) == 3


async def test_hot_keys_are_those_that_come_most(tables: Tables) -> None:
    """However many keys there are, some are told; those that come most are among them."""
    session = CountSession(tables, 4)
    await session.take([at(LAST, "a", f"s-{n % 300 if n % 2 else 7}") for n in range(3000)])
    keys = Counter(tables.counts(NOW).keys[0])
    assert len(keys) == HOT
    assert keys.most_common(1) == [("s-7", 1510)]


async def test_partitions_beyond_those_of_history_are_shared_out_in_turn(tables: Tables) -> None:
    """A topic of six partitions beside a history of four: its fifth counts with the first."""
    await CountSession(tables, 4).take([at(LAST, "a", "s-1", partition=4)])
    assert list(tables.counts(NOW).types) == [0]


async def test_what_is_counted_again_is_not_counted_twice(tables: Tables) -> None:
    """Whoever takes over begins with empty tables."""
    session = CountSession(tables, 4)
    await session.take([at(LAST, "a", "s-1")])
    tables.clear()
    await session.take([at(LAST, "a", "s-1")])
    assert sum(tables.counts(NOW).types[0]["a"]) == 1
