# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.Subscribable` promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Protocol

import pytest

from nerv.errors import Invalid
from nerv.protocols import AppendRequest, Followed, History, ReadQuery, Subscribable
from nerv.testing.contracts.history import done, fresh, fresh_category, made
from nerv.types import utc_now

SECONDS = 30.0  # for what must come


class SubscribableHistory(History, Subscribable, Protocol):
    """What the suite needs: a history that is appended to, and followed."""


async def next_of(subscription: AsyncIterator[Followed], count: int) -> list[Followed]:
    """The next `count` events of a subscription, which must come."""
    async with asyncio.timeout(SECONDS):
        return [await anext(subscription) for _ in range(count)]


class SubscribableContract:
    """Inherit it and give a fixture `history`."""

    async def test_history_goes_over_into_the_present_without_gap_or_double(self, history: SubscribableHistory) -> None:
        """While somebody writes to five streams, a subscriber sees each event once, in order of its stream."""
        category = fresh_category()
        for number in range(100):
            await done(history, AppendRequest(f"{category}-{number % 5}", [made(), made()]))

        async def write() -> None:
            for number in range(200):
                await done(history, AppendRequest(f"{category}-{number % 5}", [made()]))

        async with aclosing(history.subscribe_category(category)) as subscription:
            writing = asyncio.create_task(write())
            found = [one.event for one in await next_of(subscription, 400)]
            await writing
        for number in range(5):
            stream = f"{category}-{number}"
            assert [e.sequence for e in found if e.stream == stream] == list(range(1, 81))

    async def test_it_goes_on_after_any_position(self, history: SubscribableHistory) -> None:
        """After the position of an event come the events behind it, and no other, of a category and of a stream."""
        category = fresh_category()
        for number in range(30):
            await done(history, AppendRequest(f"{category}-{number % 4}", [made()]))
        subscriptions = (
            (partial(history.subscribe_category, category), 30),
            (partial(history.subscribe, f"{category}-1"), 8),
        )
        for of, count in subscriptions:
            async with aclosing(of()) as subscription:
                first = await next_of(subscription, count)
            for at in (0, count // 2, count - 2):
                async with aclosing(of(after=first[at].position)) as subscription:
                    rest = await next_of(subscription, count - at - 1)
                assert [one.event.id for one in rest] == [one.event.id for one in first[at + 1 :]]

    async def test_a_stream_that_does_not_exist_yet_is_waited_for(self, history: SubscribableHistory) -> None:
        """Its first event comes to who subscribed before."""
        stream = fresh()
        async with aclosing(history.subscribe(stream)) as subscription:
            coming = asyncio.create_task(next_of(subscription, 2))
            await done(history, AppendRequest(fresh(), [made()]))
            await done(history, AppendRequest(stream, [made()]))
            await done(history, AppendRequest(stream, [made()]))
            assert [(one.event.stream, one.event.sequence) for one in await coming] == [(stream, 1), (stream, 2)]

    async def test_types_and_streams_are_selected(self, history: SubscribableHistory) -> None:
        """By name and by beginning; what is not selected does not come."""
        category = fresh_category()
        query = ReadQuery(types=frozenset({"thing.c*"}), streams=frozenset({f"{category}-a*"}))
        async with aclosing(history.subscribe_category(category, query=query)) as subscription:
            for name in ("a", "b", "ab"):
                for kind in ("thing.noted.v1", "thing.closed.v1"):
                    await done(history, AppendRequest(f"{category}-{name}", [made(event_type=kind)]))
            found = [(one.event.stream, one.event.type) for one in await next_of(subscription, 2)]
        assert found == [(f"{category}-{name}", "thing.closed.v1") for name in ("a", "ab")]

    async def test_it_begins_at_the_end_or_at_an_instant(self, history: SubscribableHistory) -> None:
        """After `end()` come only later events; from a recorded instant those from it on."""
        category = fresh_category()
        await done(history, AppendRequest(f"{category}-1", [made()]))
        second = await done(history, AppendRequest(f"{category}-2", [made()]))
        end = await history.end()
        await done(history, AppendRequest(f"{category}-3", [made()]))
        async with aclosing(history.subscribe_category(category, after=end)) as subscription:
            assert [one.event.stream for one in await next_of(subscription, 1)] == [f"{category}-3"]
        query = ReadQuery(recorded_from=second.recorded_time)
        async with aclosing(history.subscribe_category(category, query=query)) as subscription:
            assert {one.event.stream for one in await next_of(subscription, 2)} == {f"{category}-2", f"{category}-3"}

    async def test_what_came_between_two_positions_is_read(self, history: SubscribableHistory) -> None:
        """Of one category or of all; between a position and itself there is nothing, and before it nobody can read."""
        category = fresh_category()
        await done(history, AppendRequest(f"{category}-1", [made()]))
        start = await history.end()
        assert [event async for event in history.between(category, start, start)] == []
        await done(history, AppendRequest(f"{category}-2", [made(), made()]))
        await done(history, AppendRequest(fresh(), [made()]))
        end = await history.end()
        await done(history, AppendRequest(f"{category}-2", [made()]))
        found = [(event.stream, event.sequence) async for event in history.between(category, start, end)]
        assert found == [(f"{category}-2", 1), (f"{category}-2", 2)]
        assert len([event async for event in history.between(None, start, end)]) == 3
        for after, until in ((end, start), ("x", end), (end, "")):
            with pytest.raises(Invalid):
                _ = [event async for event in history.between(category, after, until)]

    async def test_a_limit_ends_it(self, history: SubscribableHistory) -> None:
        """After so many events it is over, though there are more."""
        stream = fresh()
        await done(history, AppendRequest(stream, [made() for _ in range(5)]))
        async with asyncio.timeout(SECONDS):
            found = [one.event.sequence async for one in history.subscribe(stream, query=ReadQuery(limit=3))]
        assert found == [1, 2, 3]

    @pytest.mark.parametrize(
        "query", [ReadQuery(backward=True), ReadQuery(to_version=3), ReadQuery(known_at=utc_now() - timedelta(days=1))]
    )
    async def test_bounds_that_end_it_are_refused(self, history: SubscribableHistory, query: ReadQuery) -> None:
        """Backward, a last version, and what was known at an instant do not go on for ever."""
        async with asyncio.timeout(SECONDS):
            with pytest.raises(Invalid):
                _ = [one async for one in history.subscribe(fresh(), query=query)]

    @pytest.mark.parametrize("after", ["", "-1", "x", "1" * 40, "0:1,0:2", "\u00b2", "7-3"])
    async def test_a_position_that_is_none_is_refused(self, history: SubscribableHistory, after: str) -> None:
        """Nonsense does not begin somewhere."""
        async with asyncio.timeout(SECONDS):
            with pytest.raises(Invalid):
                _ = [one async for one in history.subscribe_category(fresh_category(), after=after)]
