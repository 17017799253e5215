# SPDX-License-Identifier: Apache-2.0
"""The port `Side`: rows in memory, a source of rows, streams of a history with and without a feed, views of a projector."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

import nerv
from nerv.errors import Invalid
from nerv.history.store import TemporalStore
from nerv.projections import StateProjector
from nerv.protocols import AppendRequest
from nerv.protocols.side import Action, Entity, Side
from nerv.sync import RowsSource
from nerv.sync.canonical import canonical
from nerv.sync.sides import ChangeLog, HistorySide, MappingSide, SourceSide, ViewSide
from nerv.testing.contracts.side import Make, SideContract, Thing, WritableSideContract, rows, step, value_of
from nerv.types import Event, new_event_id, utc_now

app = nerv.App("things")


@app.event("thing.created.v1")
class Created(nerv.Event):
    """A thing came to be."""

    key: str
    value: int
    weight: float
    note: str = ""


@app.projection("thing", on=["thing.created.v1"])
def thing(state: dict[str, Any] | None, event: Created) -> dict[str, Any]:
    """A thing as it is."""
    return {"key": event.key, "value": event.value, "weight": event.weight, "note": event.note, "secret": True}


class Things(RowsSource):
    """Rows that code gives."""

    category = "thing"
    key = "key"

    def __init__(self, given: Sequence[Mapping[str, Any]]) -> None:
        self._given = given

    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The rows given."""
        yield from (("row", row) for row in self._given)


async def recorded(values: Mapping[str, int]) -> TemporalStore:
    """A history that was told of these things."""
    store = TemporalStore.in_memory()
    for row in rows(values):
        event = Event(new_event_id(), "test", "thing.created.v1", utc_now(), canonical(row))
        await store.append([AppendRequest(f"thing-{row['key']}", [event])])
    return store


class TestMappingSide(WritableSideContract):
    """Rows in memory."""

    @pytest.fixture
    def make(self) -> Make:
        """From the rows."""

        async def made(values: Mapping[str, int]) -> Side:
            return MappingSide.of("things", ["key"], rows(values))

        return made


class TestHistorySide(WritableSideContract):
    """Streams that are read as a whole."""

    @pytest.fixture
    def make(self) -> Make:
        """With an event for each."""

        async def made(values: Mapping[str, int]) -> Side:
            return HistorySide(await recorded(values), "thing", writer="test")

        return made


class TestHistorySideWithAFeed(WritableSideContract):
    """Streams of whose changes a feed tells."""

    @pytest.fixture
    def make(self) -> Make:
        """With an event for each, before the feed began."""

        async def made(values: Mapping[str, int]) -> Side:
            return HistorySide(await recorded(values), "thing", writer="test", feed=ChangeLog())

        return made


class TestSourceSide(SideContract):
    """A source of rows."""

    @pytest.fixture
    def make(self) -> Make:
        """From the rows."""

        async def made(values: Mapping[str, int]) -> Side:
            return SourceSide(Things(rows(values)))

        return made


class TestViewSide(SideContract):
    """Views of a projector."""

    @pytest.fixture
    def make(self) -> Make:
        """Of things that were recorded."""

        async def made(values: Mapping[str, int]) -> Side:
            store = await recorded(values)
            return ViewSide(StateProjector(app, "thing", store), store, Thing, feed=ChangeLog())

        return made


async def test_what_is_only_read_refuses_to_be_written() -> None:
    """A source and a view say so, and what to do instead."""
    store = await recorded({"a": 1})
    view = ViewSide(StateProjector(app, "thing", store), store, Thing)
    for side in (SourceSide(Things(rows({"a": 1}))), view):
        assert not side.writable
        [outcome] = await side.write([step(Action.CREATE, Entity("b", None), 1)])
        assert isinstance(outcome, Invalid)


async def test_a_view_has_no_more_than_its_perspective_shows() -> None:
    """And no row for what was never recorded."""
    store = await recorded({"a": 1})
    found = await ViewSide(StateProjector(app, "thing", store), store, Thing).fetch(["a", "b"])
    assert [entity.row for entity in found] == [*rows({"a": 1}), None]


class TestHistorySideOfAHistoryThatIsFollowed(WritableSideContract):
    """Streams of a history that tells by itself what was appended, by anybody."""

    @pytest.fixture
    def make(self) -> Make:
        """With an event for each."""

        async def made(values: Mapping[str, int]) -> Side:
            return HistorySide((await recorded(values)).history, "thing", writer="test")

        return made


async def test_a_history_tells_what_others_append() -> None:
    """Of its own category alone, and not by the side itself; a history that is another one tells nothing."""
    store = await recorded({"a": 1, "b": 2})
    side = HistorySide(store.history, "thing", writer="test")
    start = await side.changes(None)
    assert start is not None
    for stream in ("thing-b", "thing-c", "other-a"):
        event = Event(new_event_id(), "test", "thing.created.v1", utc_now(), canonical(rows({"b": 5})[0]))
        await store.append([AppendRequest(stream, [event])])
    told = await side.changes(start.position)
    assert told is not None
    assert sorted(told.keys) == ["b", "c"]
    assert await HistorySide((await recorded({})).history, "thing", writer="test").changes(told.position) is None


async def test_streams_that_are_new_to_the_feed_need_not_be_read() -> None:
    """What a feed has told of a stream from its first event on is what is fetched, once; of others the stream is read."""
    store = await recorded({"a": 1})
    side = HistorySide(store.history, "thing", writer="test")
    start = await side.changes(None)
    assert start is not None
    for key, value in (("a", 5), ("b", 6), ("b", 7)):
        event = Event(new_event_id(), "test", "thing.created.v1", utc_now(), canonical(rows({key: value})[0]))
        await store.append([AppendRequest(f"thing-{key}", [event])])
    assert await side.changes(start.position) is not None
    first = await side.fetch(["a", "b"])
    assert [(value_of(entity), entity.version) for entity in first] == [(5, 2), (7, 2)]
    await store.append(
        [AppendRequest("thing-b", [Event(new_event_id(), "test", "thing.removed.v1", utc_now(), b"{}")])]
    )
    assert [(value_of(entity), entity.version) for entity in await side.fetch(["a", "b"])] == [(5, 2), (None, 3)]
