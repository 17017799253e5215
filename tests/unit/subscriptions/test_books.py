# SPDX-License-Identifier: Apache-2.0
"""The books of a subscription, on a history in memory."""

import asyncio
from collections.abc import Sequence

from nerv.errors import UnknownOutcome
from nerv.history.memory import MemoryHistory
from nerv.kafka.deadletters import Origin, Place
from nerv.protocols import AppendOutcome, AppendRequest
from nerv.subscriptions import Books, Fact, Kind, Letter
from nerv.subscriptions.books import load
from nerv.subscriptions.deciding import parked, replay

ORIGIN = Origin("t", 0, 3)


def created() -> Fact:
    """That there is a subscription."""
    return Fact(Kind.CREATED, {"spec": {"topic": "t"}, "who": "me"})


async def test_what_is_recorded_is_in_every_ledger() -> None:
    """In that of who records it at once, in the others' soon, and in one that is loaded later."""
    store = MemoryHistory()
    async with Books(store, "mail") as one, Books(store, "mail") as other, asyncio.timeout(30):
        await one.record([created(), *parked([Letter(ORIGIN, "k", Place(0, 1), "no")])])
        assert one.ledger.is_parked("t", 0, b"k")
        while not other.ledger.is_parked("t", 0, b"k"):
            other.changed.clear()
            await other.changed.wait()
    assert (await load(store, "mail")).is_parked("t", 0, b"k")


class LosesReplies(MemoryHistory):
    """A history whose first answer is lost on the way."""

    lost = False

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """Append, and say once that nobody knows."""
        outcomes = await super().append(requests)
        if self.lost:
            return outcomes
        self.lost = True
        return [UnknownOutcome("the answer was lost")]


async def test_a_decision_whose_answer_was_lost_is_recorded_once() -> None:
    """It is repeated as it was, time and all: under its id there is one."""
    store = LosesReplies()
    async with Books(store, "mail") as books, asyncio.timeout(30):
        await books.record([created()])
        assert (books.ledger.version, books.ledger.created) == (1, 1)


async def test_of_many_decisions_at_once_each_sees_the_one_before() -> None:
    """A letter is replayed by one of those who want it replayed; the others find that it is."""
    store = MemoryHistory()
    async with Books(store, "mail") as one, Books(store, "mail") as other, asyncio.timeout(30):
        await one.record([created(), *parked([Letter(ORIGIN, "k", Place(0, 1), "no")])])
        await other.record([Fact(Kind.SKIPPED, {"origins": [], "who": "me"})])
        asked = [books.decide(lambda ledger: replay(ledger, [ORIGIN], "me")) for books in (one, other) * 5]
        assert sum(len(facts) for facts in await asyncio.gather(*asked)) == 1


async def test_a_ledger_is_loaded_without_reading_every_position() -> None:
    """The last ones tell of all partitions."""
    store = MemoryHistory()
    async with Books(store, "mail") as books:
        await books.record([created()])
        for offset in range(60):
            await books.record([Fact(Kind.MOVED, {"created": 1, "next": {"t/0": offset, "t/1": 5}})])
        live = books.ledger
    loaded = await load(store, "mail")
    assert (loaded.next, loaded.version) == ({("t", 0): 59, ("t", 1): 5}, 61)
    assert (live.next, live.version) == (loaded.next, loaded.version)
