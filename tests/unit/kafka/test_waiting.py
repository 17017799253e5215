# SPDX-License-Identifier: Apache-2.0
"""The queue of an owner: bounded in number and bytes, in order, and truthful to who waits."""

import asyncio
from collections.abc import Sequence

import pytest

from nerv.errors import Overloaded, Unavailable, UnknownOutcome
from nerv.kafka.owning import Queue, Waiting
from nerv.kafka.owning.waiting import verdicts

SECONDS = 30.0


def waiting(count: int = 1, size: int = 10, *, kept: bool = True) -> Waiting:
    """A request of so many records and bytes."""
    return Waiting(asyncio.get_running_loop().create_future(), count, size, kept)


def queue(limit: int = 10, most_bytes: int = 100, seconds: float = SECONDS) -> Queue[Waiting]:
    """A small one."""
    return Queue(limit, most_bytes, seconds)


def filled(items: Sequence[Waiting], made: Queue[Waiting]) -> Queue[Waiting]:
    """With these in it."""
    for item in items:
        made.put(item)
    return made


async def test_one_too_many_is_answered_at_once() -> None:
    """Two may wait; the third is told, and takes no place."""
    items = [waiting() for _ in range(3)]
    made = filled(items, queue(limit=2))
    assert isinstance(items[2].future.result(), Overloaded)
    assert made.take(10, 100) == items[:2]


async def test_bytes_that_wait_are_bounded_and_counted_out_again() -> None:
    """What waits has more bytes than may: the next is told. Once a tick has taken them, others may come."""
    items = [waiting(size=60) for _ in range(4)]
    made = filled(items[:3], queue())
    assert isinstance(items[2].future.result(), Overloaded)
    made.take(10, 1000)
    made.put(items[3])
    assert made.take(10, 1000) == [items[3]]


async def test_a_tick_takes_up_to_its_bounds_and_one_at_least() -> None:
    """Five records, then whatever the first holds; those whose asker has gone are passed over."""
    items = [waiting(3), waiting(3), waiting(9), waiting(1)]
    items[3].abandoned = True
    made = filled(items, queue())
    assert [made.take(5, 100), made.take(5, 100), made.take(5, 100)] == [items[:2], [items[2]], []]


async def test_what_a_tick_gives_back_comes_first_but_for_what_kafka_has() -> None:
    """The order of the failed tick is kept; a command is read again where it stands."""
    first, second, read, later = waiting(), waiting(), waiting(kept=False), waiting()
    made = filled([first, second], queue())
    made.put_read([read])
    taken = made.take(10, 100)
    made.put(later)
    made.put_back(taken)
    assert made.take(10, 100) == [first, second, later]


async def test_who_is_refused_is_told_whether_it_may_have_happened() -> None:
    """What no transaction has held was not written; of the other nobody knows."""
    items = [waiting(), waiting()]
    items[1].tried = True
    filled(items, queue()).refuse_all("it moved")
    assert [type(item.future.result()) for item in items] == [Unavailable, UnknownOutcome]


async def test_time_is_up_for_what_waits_and_for_what_a_tick_has() -> None:
    """Both are answered; what was never tried is not written any more."""
    items = [waiting(), waiting()]
    made = filled(items, queue(seconds=0.01))
    [taken] = made.take(1, 100)
    taken.tried = True
    async with asyncio.timeout(SECONDS):
        found = await verdicts(items)
    assert [type(outcome) for outcome in found] == [UnknownOutcome, Unavailable]
    assert made.take(10, 100) == []


async def test_who_goes_away_takes_back_what_no_tick_has() -> None:
    """A cancelled asker's requests are passed over."""
    item = waiting()
    made = filled([item], queue())
    asking = asyncio.create_task(verdicts([item]))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert made.take(10, 100) == []


async def test_a_tick_waits_for_as_many_as_it_is_told() -> None:
    """The second of two that are wanted ends the wait, long before its time is up."""
    made = filled([waiting()], queue())
    arrived = asyncio.create_task(made.arrived(2, asyncio.get_running_loop().time() + SECONDS))
    await asyncio.sleep(0)
    assert not arrived.done()
    made.put(waiting())
    async with asyncio.timeout(SECONDS / 2):
        await arrived


@pytest.mark.parametrize("late", [-1.0, 0.01])
async def test_when_time_is_up_one_request_is_enough(late: float) -> None:
    """Whether the time was over before, or ends as the tick waits for a second one."""
    made = filled([waiting()], queue())
    async with asyncio.timeout(SECONDS):
        await made.arrived(2, asyncio.get_running_loop().time() + late)


async def test_nobody_waits_then_the_first_one_ends_the_wait() -> None:
    """However many were wanted while there was time."""
    made = queue()
    arrived = asyncio.create_task(made.arrived(2, asyncio.get_running_loop().time() + 0.01))
    done, _ = await asyncio.wait({arrived}, timeout=0.1)
    assert not done
    made.put(waiting())
    async with asyncio.timeout(SECONDS):
        await arrived


@pytest.mark.parametrize("late", [-1.0, SECONDS])
@pytest.mark.parametrize("first", [True, False])
async def test_who_wakes_ends_the_wait_whatever_it_is_for(late: float, first: bool) -> None:
    """For a second request, for any at all, or one that has yet to begin: an owner that leaves would else never end."""
    made = queue()
    if first:
        made.wake()
    arrived = asyncio.create_task(made.arrived(2, asyncio.get_running_loop().time() + late))
    await asyncio.sleep(0)
    if not first:
        made.wake()
    async with asyncio.timeout(SECONDS / 2):
        await arrived
