# SPDX-License-Identifier: Apache-2.0
"""Readers of the index: whatever the bounds, each event once, in order, a slice at a time."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerv.history import content_digest, selector
from nerv.protocols import ReadQuery
from nerv.types import Event, category_of
from nerv_temporal.api.formats import Format
from nerv_temporal.api.query import Asked, Consistency, Freshness
from nerv_temporal.api.reading import ranges_of
from nerv_temporal.index import Index, PartitionState
from nerv_temporal.model import Stored
from nerv_temporal.positions import parse_ranges, parse_whole_position
from nerv_temporal.reads import LogReader, Reader, StreamReader, first_offset

START = datetime(2013, 1, 15, 12, tzinfo=UTC)
PARTITIONS = 3
STREAMS = ("a", "a-1", "a-2", "ab-1", "b-1")


def written(index: Index) -> list[Event[bytes]]:
    """4,000 events of five streams in three partitions, with gaps between the offsets; in the order of recording. Those of `b-1`
    happened in that order, too.
    """
    events: list[Event[bytes]] = []
    versions = dict.fromkeys(STREAMS, 0)
    offsets = [0] * PARTITIONS
    for number in range(4000):
        stream = STREAMS[(number * number + number // 7) % len(STREAMS)]
        partition = STREAMS.index(stream) % PARTITIONS
        versions[stream] += 1
        offsets[partition] += 1 + number % 3
        recorded = START + timedelta(seconds=number)
        kind = f"thing.{'noted' if number % 2 else 'closed'}.v1"
        ago = timedelta(milliseconds=4000 - number) if stream == "b-1" else timedelta(seconds=number % 5)
        event: Event[bytes] = Event(f"e-{number}", "test", kind, START - ago, b"{}")
        event = replace(event, subject=stream, sequence=versions[stream], recorded_time=recorded)
        state = PartitionState(offsets[partition] + 1, int(recorded.timestamp() * 1_000_000), "")
        index.apply(partition, [(offsets[partition], Stored(event, content_digest(event)))], state)
        events.append(event)
    return events


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Index, list[Event[bytes]]]]:
    """An index, and the events in it."""
    index = Index(tmp_path_factory.mktemp("filled") / "index", "topic")
    yield index, written(index)
    index.close()


def everything(index: Index) -> dict[int, tuple[int, int]]:
    """All offsets of all partitions."""
    return {p: (0, index.partition(p).next_offset) for p in range(PARTITIONS)}


def drained(reader: Reader, limit: int = 10_000) -> list[str]:
    """The ids of all that a reader reads, in pieces of at most `limit`."""
    found: list[str] = []
    while not reader.done:
        piece = reader.slice(limit)
        assert len(piece) <= limit
        found += [event.id for event in piece]
    return found


def test_a_read_as_of_an_instant_ends_behind_it_where_nothing_was_late(
    filled: tuple[Index, list[Event[bytes]]],
) -> None:
    """Else anything that stands behind it may have happened before."""
    index, _ = filled
    query = ReadQuery(as_of=START - timedelta(seconds=2))
    ordered, late = (StreamReader(index, stream, query) for stream in ("b-1", "a-1"))
    assert ordered.slice(10_000)
    assert late.slice(10_000)
    assert (ordered.done, late.done) == (True, False)


queries = st.builds(
    ReadQuery,
    from_version=st.integers(0, 900),
    to_version=st.none() | st.integers(0, 900),
    backward=st.booleans(),
    types=st.sampled_from([frozenset(), frozenset({"thing.noted.v1"}), frozenset({"thing.c*"}), frozenset({"x"})]),
    streams=st.sampled_from([frozenset(), frozenset({"a-1", "b-1"}), frozenset({"a*"})]),
    as_of=st.none() | st.just(START - timedelta(seconds=2)),
    known_at=st.none() | st.integers(-5, 4005).map(lambda n: START + timedelta(seconds=n)),
    recorded_from=st.none() | st.integers(-5, 4005).map(lambda n: START + timedelta(seconds=n)),
)


@given(query=queries, category=st.sampled_from([None, "a", "b", "none"]), limit=st.sampled_from([1, 7, 5000]))
@settings(max_examples=60, deadline=None)
def test_many_streams_are_read_as_a_plain_filter_says(
    filled: tuple[Index, list[Event[bytes]]], query: ReadQuery, category: str | None, limit: int
) -> None:
    """The reader over three partitions selects what a filter over a list does, in the same order, both ways."""
    index, events = filled
    selects = selector(query)
    wanted = [e.id for e in events if selects(e) and (category is None or category_of(e.stream) == category)]
    found = drained(LogReader(index, everything(index), category, query), limit)
    assert found == (wanted[::-1] if query.backward else wanted)


@given(query=queries, stream=st.sampled_from(STREAMS), limit=st.sampled_from([1, 7, 5000]))
@settings(max_examples=60, deadline=None)
def test_a_stream_is_read_as_a_plain_filter_says(
    filled: tuple[Index, list[Event[bytes]]], query: ReadQuery, stream: str, limit: int
) -> None:
    """The reader of one stream selects what a filter over a list does, though it searches for the instants."""
    index, events = filled
    query = replace(query, streams=frozenset())
    selects = selector(query)
    wanted = [e.id for e in events if e.stream == stream and selects(e)]
    found = drained(StreamReader(index, stream, query), limit)
    assert found == (wanted[::-1] if query.backward else wanted)


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=60), backward=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_token_goes_on_where_the_page_ended(
    filled: tuple[Index, list[Event[bytes]]], sizes: list[int], backward: bool
) -> None:
    """A new reader for each page, from the token of the last one, reads each event once."""
    index, events = filled
    query = ReadQuery(backward=backward, types=frozenset({"thing.noted.v1"}))
    reader = LogReader(index, everything(index), None, query)
    found: list[str] = []
    for size in sizes:
        found += [event.id for event in reader.slice(size)]
        reader = LogReader(index, parse_ranges(reader.token, PARTITIONS, "after"), None, query)
    found += drained(reader)
    wanted = [e.id for e in events if e.type == "thing.noted.v1"]
    assert found == (wanted[::-1] if backward else wanted)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_event_names_the_position_after_it(filled: tuple[Index, list[Event[bytes]]], data: Any) -> None:
    """Going on from the position of any event reads exactly what came after it."""
    index, events = filled
    ends = everything(index)
    reader = LogReader(index, ends, None, ReadQuery())
    read: list[tuple[str, str]] = []
    while not reader.done:
        read += [(position, event.id) for position, event in reader.each(500)]
    at = data.draw(st.integers(0, len(read) - 1))
    start = parse_whole_position(read[at][0], PARTITIONS, "from")
    rest = drained(LogReader(index, {p: (low, ends[p][1]) for p, low in start.items()}, None, ReadQuery()))
    assert rest == [e.id for e in events[at + 1 :]]


def test_the_first_offset_of_an_instant_is_found(filled: tuple[Index, list[Event[bytes]]]) -> None:
    """Before the first event it is the beginning, after the last one the end, between them a place with that instant."""
    index, _ = filled
    micro = int(START.timestamp() * 1_000_000)
    for partition in range(PARTITIONS):
        end = index.partition(partition).next_offset
        places = index.places(partition, 0, end, backward=False, limit=10_000)
        assert first_offset(index, partition, 0) <= places[0].offset
        assert first_offset(index, partition, micro + 10**12) == end
        for place in places[::97]:
            assert first_offset(index, partition, place.recorded_us) in range(place.offset - 2, place.offset + 1)
            [found] = index.places(
                partition, first_offset(index, partition, place.recorded_us), end, backward=False, limit=1
            )
            assert found == place


def test_a_reader_goes_on_when_there_is_more(tmp_path: Path) -> None:
    """What is written after a reader was done is read when it goes on, and nothing twice."""
    index = Index(tmp_path / "index", "topic")
    written(index)
    many, one = LogReader(index, everything(index), None, ReadQuery()), StreamReader(index, "a-1", ReadQuery())
    drained(many)
    drained(one)
    last = index.version("a-1")
    event: Event[bytes] = Event("late", "test", "thing.noted.v1", START, b"{}", "a-1", START, last + 1)
    end = index.partition(1).next_offset
    index.apply(1, [(end, Stored(event, content_digest(event)))], PartitionState(end + 1, 0, ""))
    many.resume()
    one.resume()
    assert drained(many) == drained(one) == ["late"]
    index.close()


@pytest.mark.parametrize(
    "bound", [{}, {"known_at": START}, {"recorded_from": START}], ids=["all", "known_at", "recorded"]
)
def test_a_reader_is_never_sent_back(filled: tuple[Index, list[Event[bytes]]], bound: dict[str, Any]) -> None:
    """Where the one who knows the end knows of less than the reader has, the reader is given nothing, and stays where it was."""
    index, _ = filled
    start = {p: index.partition(p).next_offset - 5 for p in range(PARTITIONS)}
    ends = {p: offset - 10 for p, offset in start.items()}
    asked = Asked(ReadQuery(**bound), Format.JSON, Freshness(Consistency.DEFAULT, {}), 100, start=start)
    reader = LogReader(index, ranges_of(index, asked, ends), None, asked.query)
    assert drained(reader) == []
    assert parse_whole_position(reader.position, PARTITIONS, "position") == start
