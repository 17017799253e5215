# SPDX-License-Identifier: Apache-2.0
"""What comes is counted by type and second, in tables of Faust."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from nerv_projector.faust_app import FaustHost
from nerv_projector.mesh.board import Row
from nerv_projector.mesh.counting import HOT, KEPT_SECONDS, NAME, SHOWN_SECONDS, CountSession, Tables
from nerv_projector.observing import types_of
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


async def test_a_record_without_a_type_counts_for_its_topic(tables: Tables) -> None:
    """Whatever a client has written for a type or a key."""
    bare = at(LAST, "a", "s-1")
    bare.headers_ = [("ce_type", None)]  # type: ignore[list-item]  # as Kafka takes it from anybody
    bare.key_ = b"\xff" * 300
    await CountSession(tables, 4).take([bare])
    found = tables.counts(NOW)
    assert list(found.types[0]) == ["(m.history.v1)"]
    assert list(found.keys[0]) == ["\ufffd" * NAME]


def test_rows_of_different_seconds_are_told_as_one() -> None:
    """An owner that has not told of the latest second yet counts in the ones before."""
    early = Row("one", 0.0, first=100, types={"a": [1, 2, *[0] * (SHOWN_SECONDS - 2)]})
    late = Row("two", 0.0, first=101, types={"a": [5, *[0] * (SHOWN_SECONDS - 2), 7]})
    [told] = types_of([early, late])
    assert told["counts"] == [7, *[0] * (SHOWN_SECONDS - 2), 7]
    assert told["events"] == 14


async def test_what_is_counted_again_is_not_counted_twice(tables: Tables) -> None:
    """Whoever takes over begins with empty tables."""
    session = CountSession(tables, 4)
    await session.take([at(LAST, "a", "s-1")])
    tables.clear()
    await session.take([at(LAST, "a", "s-1")])
    assert sum(tables.counts(NOW).types[0]["a"]) == 1
