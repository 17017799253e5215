# SPDX-License-Identifier: Apache-2.0
"""Streamed answers over an index: they say how far they are, go on with what comes, and end with the service."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from nerv.errors import Overloaded
from nerv.history import content_digest
from nerv.kafka import KafkaSettings
from nerv.protocols import ReadQuery
from nerv.types import Event
from nerv_temporal.api.formats import Format
from nerv_temporal.api.query import Asked, Consistency, Freshness
from nerv_temporal.feeds import Feeds
from nerv_temporal.index import Index, row_of
from nerv_temporal.model import Stored
from nerv_temporal.reads import LogReader, StreamReader
from nerv_temporal.settings import ReadSettings
from nerv_temporal.tail import Tail

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Tail]:
    """Over an index with one event; nothing is consumed."""
    index = Index(tmp_path / "index", "topic")
    tail = Tail(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "test", "history", 1, index)
    add(tail, 1)
    yield tail
    index.close()


def add(tail: Tail, count: int) -> None:
    """So many more events of the stream, as its owner applies them."""
    first = tail.index.partition(0).next_offset
    rows = []
    for offset in range(first, first + count):
        event: Event[bytes] = Event(f"e-{offset}", "test", "thing.noted.v1", NOON, b"{}")
        recorded = NOON + timedelta(seconds=offset)
        event = replace(event, subject="thing-1", sequence=offset + 1, recorded_time=recorded)
        rows.append(row_of(Stored(event, content_digest(event))))
    tail.advance(0, first, rows, first + count)


def feeds(tail: Tail, closing: asyncio.Event, *, heartbeat: float = 60.0, subscribers: int = 10) -> Feeds:
    """With heartbeats that do not come by themselves in a test, unless it says so."""
    return Feeds(ReadSettings(heartbeat_seconds=heartbeat, subscribers=subscribers), tail, lambda: closing)


def asked(*, follow: bool = True, limit: int = 10**6, types: str = "*") -> Asked:
    """Lines of a stream."""
    query = ReadQuery(types=frozenset({types}))
    return Asked(query, Format.NDJSON, Freshness(Consistency.LOCAL, {}), limit, follow=follow)


async def lines(pieces: AsyncIterator[bytes]) -> list[dict[str, object]]:
    """All that comes."""
    async with asyncio.timeout(30):
        return [orjson.loads(line) async for piece in pieces for line in piece.splitlines()]


async def test_a_long_search_that_finds_nothing_says_how_far_it_is(tail: Tail) -> None:
    """Who waits for events of a rare type is told the position, so that the connection lives and need not begin anew."""
    add(tail, 3000)
    one = asked(follow=False, types="rare.*")
    reader = LogReader(tail.index, {0: (0, 3001)}, None, one.query)
    found = await lines(feeds(tail, asyncio.Event(), heartbeat=1e-9).open(one, reader, [0]))
    positions = [str(line["position"]) for line in found]
    assert len(set(positions)) >= 6
    assert positions[-1] == "0:3001"
    assert [line for line in found if "event" in line] == []


async def test_it_goes_on_with_what_comes_and_ends_without_an_end_when_the_service_closes(tail: Tail) -> None:
    """Events that are applied while it waits come at once; a reader can tell that this was not all."""
    closing = asyncio.Event()
    one = asked()
    pieces = feeds(tail, closing).open(one, StreamReader(tail.index, "thing-1", one.query), [0])
    versions: list[object] = []
    async with asyncio.timeout(30):
        async for piece in pieces:
            found = [orjson.loads(line) for line in piece.splitlines()]
            assert not any("end" in line for line in found)
            versions += [line["event"]["sequence"] for line in found if "event" in line]
            if len(versions) < 141:
                add(tail, 7)
            else:
                closing.set()
    assert versions == [str(version) for version in range(1, len(versions) + 1)]
    assert len(versions) >= 141


async def test_a_limit_ends_it_with_an_end(tail: Tail) -> None:
    """After so many events the reader is told that this was all it asked for."""
    add(tail, 9)
    one = asked(limit=4)
    found = await lines(feeds(tail, asyncio.Event()).open(one, StreamReader(tail.index, "thing-1", one.query), [0]))
    assert found[-1] == {"position": "4", "end": True}
    assert len(found) == 6


async def test_one_too_many_is_refused_and_room_comes_back(tail: Tail) -> None:
    """With the setting that bounds them; closing one makes room."""
    closing = asyncio.Event()
    bounded = feeds(tail, closing, subscribers=1)
    one = asked()
    first = bounded.open(one, StreamReader(tail.index, "thing-1", one.query), [0])
    await anext(first)
    with pytest.raises(Overloaded, match="NERV_READS__SUBSCRIBERS"):
        bounded.open(one, StreamReader(tail.index, "thing-1", one.query), [0])
    await first.aclose()  # type: ignore[attr-defined]  # an async generator
    bounded.open(one, StreamReader(tail.index, "thing-1", one.query), [0])
