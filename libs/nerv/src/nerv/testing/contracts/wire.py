# SPDX-License-Identifier: Apache-2.0
"""What every wire does. Inherit `WireContract` and give the fixtures `wire` and `sibling`: two ends of one wire."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from nerv.protocols.wire import Arrived, Wire
from nerv.types import Event, new_event_id, utc_now

SECONDS = 30.0


def event(text: str, key: str = "a") -> Event[bytes]:
    """An event that can be told apart."""
    return Event(new_event_id(), "contract", "wire.noted.v1", utc_now(), text.encode(), partition_key=key)


async def first(batches: AsyncIterator[Sequence[Arrived]]) -> Sequence[Arrived]:
    """The next batch that holds something."""
    async with asyncio.timeout(SECONDS):
        async for batch in batches:
            if batch:
                return batch
    raise AssertionError("the wire ended")


async def collect(wire: Wire, count: int) -> list[Event[bytes]]:
    """That many events."""
    found: list[Event[bytes]] = []
    async with asyncio.timeout(SECONDS):
        async for batch in wire.take():
            found += [arrived.event for arrived in batch]
            if len(found) >= count:
                break
    return found


class WireContract:
    """The contract of `nerv.protocols.wire.Wire`."""

    @pytest.fixture
    def wire(self) -> Wire:
        """One end."""
        raise NotImplementedError

    @pytest.fixture
    def sibling(self) -> Wire:
        """The other end: another process's hold on the same topic or stream, with a name of its own."""
        raise NotImplementedError

    async def test_an_event_comes_over_whole(self, wire: Wire, sibling: Wire) -> None:
        """All its attributes, and its data to the byte."""
        made = event("\x00 ü")
        await wire.put([made])
        [arrived] = await first(sibling.take())
        assert arrived.event == made

    async def test_one_key_keeps_its_order(self, wire: Wire, sibling: Wire) -> None:
        """Over batches and puts."""
        for start in range(0, 60, 20):
            await wire.put([event(str(n)) for n in range(start, start + 20)])
        found = await collect(sibling, 60)
        assert [made.data for made in found] == [str(n).encode() for n in range(60)]

    async def test_what_was_not_done_with_comes_again(self, wire: Wire, sibling: Wire) -> None:
        """A reader that goes away with a batch in hand has lost nothing."""
        made = event("again")
        await wire.put([made])
        batches = wire.take()
        [arrived] = await first(batches)
        await batches.aclose()  # type: ignore[attr-defined]  # take is an async generator everywhere
        [again] = await first(sibling.take())
        assert again.event == arrived.event == made

    async def test_what_was_done_with_does_not_come_again(self, wire: Wire, sibling: Wire) -> None:
        """Asking for the next batch is the acknowledgement."""
        await wire.put([event("done")])
        batches = wire.take()
        await first(batches)
        next_batch = asyncio.ensure_future(first(batches))
        await wire.put([event("next")])
        [arrived] = await next_batch
        assert arrived.event.data == b"next"
        await batches.aclose()  # type: ignore[attr-defined]
        [again] = await first(sibling.take())
        assert again.event.data == b"next"

    async def test_what_is_refused_does_not_stop_the_rest(self, wire: Wire, sibling: Wire) -> None:
        """It is put aside, and the ones behind it come."""
        await wire.put([event("bad"), event("good")])
        batches = sibling.take()
        for arrived in await first(batches):
            if arrived.event.data == b"bad":
                await sibling.refuse(arrived, "it is bad")
        following = asyncio.ensure_future(first(batches))
        await wire.put([event("more")])
        assert [a.event.data for a in await following] == [b"more"]
