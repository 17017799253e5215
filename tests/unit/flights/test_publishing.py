# SPDX-License-Identifier: Apache-2.0
"""Publishing keeps every aircraft's order with several batches in flight."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

import pytest

from flights.data import data_folder, events_in_order, load_flights
from flights.demo.publishing import BATCH, LANES, key_of, publish_all
from nerv.errors import SchemaMismatch
from nerv.types import Event


class Board:
    """Takes batches as the broker does, the first ones only when `LANES` of them are there."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Event[bytes]]] = []
        self.most = 0
        self._open = 0
        self._together = asyncio.Event()

    async def send(self, batch: Sequence[Event[bytes]]) -> None:
        self._open += 1
        self.most = max(self.most, self._open)
        if self._open == LANES:
            self._together.set()
        await self._together.wait()
        self._open -= 1
        self.batches.append(batch)


async def test_an_aircraft_stays_in_order_and_batches_run_side_by_side() -> None:
    """Every event is sent once, in order within its key, in batches of at most 500, four of them at a time."""
    events = list(events_in_order(load_flights(data_folder(), [1], range(1, 4))))
    board = Board()
    done: list[int] = []
    assert await publish_all(board.send, iter(events), done.append) == len(events)
    sent = [event for batch in board.batches for event in batch]
    assert len(sent) == len({event.id for event in sent}) == len(events) == sum(done)
    assert max(len(batch) for batch in board.batches) <= BATCH
    assert board.most == LANES
    wanted, got = defaultdict(list), defaultdict(list)
    for event in events:
        wanted[key_of(event)].append(event.id)
    for event in sent:
        got[key_of(event)].append(event.id)
    assert got == wanted


async def test_a_refused_batch_ends_the_publishing() -> None:
    """The error of the broker comes out as it is, and no lane goes on."""
    events = events_in_order(load_flights(data_folder(), [1], range(1, 4)))

    async def refuse(batch: Sequence[Event[bytes]]) -> None:
        raise SchemaMismatch(f"{batch[0].id} does not fit")

    with pytest.raises(SchemaMismatch):
        await publish_all(refuse, islice(events, 4000), lambda count: None)


async def test_few_events_need_no_full_batch() -> None:
    """What is left in the lanes at the end is sent, too."""
    events = list(events_in_order(load_flights(data_folder(), [1], [1])))[:7]
    sent: list[str] = []

    async def take(batch: Sequence[Event[bytes]]) -> None:
        sent.extend(event.id for event in batch)

    assert await publish_all(take, iter(events), lambda count: None) == 7
    assert sorted(sent) == sorted(event.id for event in events)
