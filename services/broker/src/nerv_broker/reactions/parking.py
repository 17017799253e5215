# SPDX-License-Identifier: Apache-2.0
"""Which keys of which reaction wait, and what becomes of them: the books of each reaction (`subscription-<reaction>`)."""

import asyncio
from collections.abc import Iterable, Sequence, Set
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from nerv.errors import Misconfigured, Unavailable
from nerv.kafka import Position
from nerv.kafka.deadletters import DOOR, Origin, Place, origin_of
from nerv.subscriptions import Books, Fact, Kind, Ledger, Letter, State, key_text, stream_of
from nerv.subscriptions.books import Store
from nerv.subscriptions.deciding import parked, resolved
from nerv.types import new_event_id
from nerv_broker.reactions.answers import Answer

Partition = tuple[str, int]

RECORD_SECONDS = 6.0  # below the time-out of the transaction that waits for it


class NameTaken(Misconfigured):
    """The books of a reaction are those of a group: each would take the other's decisions for its own."""

    title = "Name taken"


class Parks:
    """The books of all reactions, as one member of the group keeps them; use as `async with`.

    What is written here counts only while this member is the last to have taken the partition: `taken` says so in the books.
    """

    def __init__(self, store: Store, reactions: Sequence[tuple[str, str]]) -> None:
        """`reactions` are the name and the topic of each."""
        self._topics = dict(reactions)
        self._books = {name: Books(store, name) for name in self._topics}
        self._epoch = new_event_id()
        self._taken: set[Partition] = set()
        self._nudged = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises NameTaken, or Unavailable while the books cannot be read."""
        async with AsyncExitStack() as stack:
            for name, books in self._books.items():
                if name.startswith(DOOR):
                    raise NameTaken(f"reaction {name}: {DOOR} begins the names of the doors of topics; choose another")
                await stack.enter_async_context(books)
                if books.ledger.spec is not None:
                    raise NameTaken(
                        f"reaction {name} has the name of a group, and both keep their books in {stream_of(name)}; "
                        f'name the reaction otherwise, @app.on(..., name="..."), or delete the group with the release before'
                    )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def holds(self, answer: Answer) -> bool:
        """Whether the key of this answer waits."""
        record = answer.record
        return self._books[answer.reaction.name].ledger.is_parked(record.topic(), record.partition(), record.key())

    async def take(self, partitions: Iterable[Partition]) -> None:
        """Say in the books that these partitions are ours from now on; of those that are, nothing needs to be said."""
        new = {partition for partition in partitions if partition not in self._taken}
        for name, topic in self._topics.items():
            mine = sorted(f"{t}/{p}" for t, p in new if t == topic)
            if mine:
                await self._books[name].record([Fact(Kind.TAKEN, {"epoch": self._epoch, "partitions": mine})])
        self._taken |= new

    def lost(self, partitions: Iterable[Partition]) -> None:
        """These are ours no more."""
        self._taken.difference_update(partitions)

    async def park(self, answers: Sequence[Answer], places: Sequence[Position]) -> None:
        """Record the letters of these answers. Raises Unavailable when the books did not take them: then commit nothing."""
        for name, books in self._books.items():
            letters = [_letter(one, at) for one, at in zip(answers, places, strict=True) if one.reaction.name == name]
            if letters:
                await self._record(books, parked(letters, self._epoch))
                if any(letter.origin not in books.ledger.letters for letter in letters):
                    raise Unavailable(f"another broker has taken the partitions of reaction {name}")

    async def forget(self, answers: Iterable[Answer]) -> None:
        """Letters of answers that happened after all: somebody died after the books had them, and before they were written."""
        for name, books in self._books.items():
            if books.ledger.letters:
                done = [origin_of(one.record) for one in answers if one.reaction.name == name and one.good]
                await self.settle(name, [origin for origin in done if origin in books.ledger.letters], ())

    async def replaying(self, partitions: Set[Partition]) -> list[tuple[str, list[Letter]]]:
        """Per reaction, what somebody has asked to have tried again, of these partitions, in order; they are taken for it."""
        found: list[tuple[str, list[Letter]]] = []
        for name, books in self._books.items():
            letters = _free(books.ledger, partitions)
            if letters:
                await self.take({letter.origin[:2] for letter in letters})
                found.append((name, letters))
        return found

    def nudge(self) -> None:
        """Have `wait` end once: there may be something to do that was decided before."""
        self._nudged.set()

    async def wait(self) -> None:
        """Until a decision was written to any of the books."""
        events = [self._nudged, *(books.changed for books in self._books.values())]
        waiting = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        for event in events:
            event.clear()

    async def settle(self, name: str, done: Sequence[Origin], waiting: Sequence[Letter]) -> None:
        """Of one reaction: letters that were processed, and such as wait again behind one that failed."""
        if done:
            await self._record(self._books[name], resolved(done, self._epoch))
        if waiting:
            await self._record(self._books[name], parked(waiting, self._epoch))

    async def _record(self, books: Books, facts: Sequence[Fact]) -> None:
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await books.record(facts)
        except TimeoutError:
            raise Unavailable(f"temporal did not take what was decided of reaction {books.name}") from None


def _free(ledger: Ledger, partitions: Set[Partition]) -> list[Letter]:
    """The letters to try again behind no dead one of their key: whoever died in between, they wait for that one."""
    asked = [one for partition in sorted(partitions) for one in ledger.replaying(partition)]
    dead = {
        lane: next((one.origin for one in ledger.lane(lane) if one.state is State.DEAD), None)
        for lane in {one.lane for one in asked if one.lane is not None}
    }
    return [one for one in asked if one.lane is None or (at := dead[one.lane]) is None or one.origin < at]


def _letter(answer: Answer, at: Position) -> Letter:
    record = answer.record
    attempt = answer.before + answer.attempt
    place = Place(at.partition, at.offset)
    return Letter(origin_of(record), key_text(record.key()), place, answer.cause, attempt, answer.held)
