# SPDX-License-Identifier: Apache-2.0
"""Dispatch one partition of a topic to a group: what was read goes into Redis, what was given up into the dead letters.

One task does all of it, in turns, so that nothing overtakes. What may die where:
- between the dead letters and the books: the letter is written a second time, the ledger knows both as one;
- between the books and Redis: the next dispatcher finds the entry still given up, or the key parked, and does it again;
- Redis itself: the next take is fresh, and goes on at the position in the books; what was acknowledged behind it comes again.
A deposed dispatcher is fenced in Redis by its epoch before the books say that another took over, and in the books from then on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import structlog

from nerv.errors import Refused, Unavailable
from nerv.kafka import Position, Producer, Received
from nerv.kafka.deadletters import DeadLetter, Origin, Place, count_letters
from nerv.kafka.lagging import Ages
from nerv.subscriptions import Books, Fact, Kind, Letter, State, key_text
from nerv.subscriptions.deciding import parked, resolved
from nerv.telemetry import processed
from nerv.telemetry.traffic import saw
from nerv_broker.deadletters.reading import LetterBox
from nerv_broker.groups.entries import Entry, entry_again, entry_of
from nerv_broker.groups.seeing import Sight
from nerv_broker.groups.shared import IN_ONE, Doomed, Lost, SharedGroup

log = structlog.get_logger(__name__)

BUSY_SECONDS = 0.1  # between two looks at a partition with events under way
IDLE_SECONDS = 0.5
MOST_LETTERS = 100_000  # of a subscription; beyond it waits until people have seen to some


@dataclass(frozen=True, slots=True)
class Tools:
    """What the partitions of a group work with."""

    group: SharedGroup
    books: Books
    producer: Producer
    box: LetterBox
    deadletters: str
    sight: Sight
    partitions: Callable[[], int]  # of the topic; there may come some later
    created: int  # the version that created the group: a position tells of no other one of its name
    ring: Callable[[], None]
    kafka_group: str


class _Read(NamedTuple):
    """A record that was read: for the group (`entry`), for the dead letters (`cause`, too), or for nobody."""

    offset: int
    entry: Entry | None
    cause: str = ""
    held: bool = False


class PartitionWork:
    """The dispatcher of one partition, from a take to a loss. `run` it; feed it with `offer`."""

    def __init__(self, tools: Tools, topic: str, partition: int, epoch: str, start: int) -> None:
        self._tools = tools
        self._topic, self._partition, self._epoch = topic, partition, epoch
        self._waiting: deque[Received] = deque()
        self._ended: Callable[[], int] = lambda: 0
        self._wake = asyncio.Event()
        self._again: set[Origin] = set()  # replayed letters that are in Redis
        self._asked = -1  # the version of the ledger whose replays are all in Redis
        self._due = 0.0  # when the next letter of a replay at a rate may go
        self.next = self._reached = start
        self.floor: int | None = None  # not known before Redis was asked: there may be some under way behind the start
        self.ages = Ages()
        self.fault: str | None = None

    @property
    def waiting(self) -> int:
        """Records that were read and are not in Redis yet."""
        return len(self._waiting)

    def offer(self, records: Sequence[Received]) -> None:
        """These were read, and none is missing between them and the ones before. Raises Unavailable for what goes back."""
        if records[0].offset() < self._reached:
            raise Unavailable(f"{self._topic} begins again at {records[0].offset()}: it is another one, or was cut")
        self._reached = records[-1].offset() + 1
        self.ages.read(self._reached, records[0].timestamp()[1])
        self._waiting += records
        self._wake.set()

    def ends(self, ended: Callable[[], int]) -> None:
        """How to learn up to where the partition was read when it had no more: markers of transactions are no records."""
        self._ended = ended

    async def run(self) -> None:
        """For ever. Raises Lost, or a NervError after which the partition must be taken again."""
        while True:
            self._wake.clear()
            await self._replay()
            moved = await self._dispatch()
            settled = await self._tick()
            if not moved and not settled:
                busy = self._waiting or self.floor != self.next or self._again
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), BUSY_SECONDS if busy else IDLE_SECONDS)

    async def _dispatch(self) -> bool:
        """The next records, as many as there is room for; whether there were any."""
        if self._full():
            return False
        records = list(islice(self._waiting, IN_ONE))
        if not records and self._ended() <= self.next:
            return False
        before = self.next
        with processed(self._tools.kafka_group, {self._topic: len(records)}):
            entries = await self._move(records)
        while self._waiting and self._waiting[0].offset() < self.next:
            self._waiting.popleft()
        saw(f"topic:{self._topic}", f"group:{self._tools.books.name}", self.next - before)
        if entries:
            self._tools.ring()
        return self.next > before

    async def _move(self, records: Sequence[Received]) -> list[Entry]:
        """Into Redis, and what cannot be read into the dead letters; what is new in Redis."""
        found = self._sorted(records)
        await self._bury([self._letter(one) for one in found if one.entry is not None and one.cause])
        end = records[-1].offset() + 1 if records else self._ended()
        entries = [one.entry for one in found if one.entry is not None and not one.cause]
        self.next = await self._tools.group.dispatch(self._partition, self._epoch, self.next, end, entries)
        return entries

    def _sorted(self, records: Sequence[Received]) -> list[_Read]:
        """What becomes of each. One that cannot be read stops its key, and so those behind it."""
        found, stopped = [], dict[bytes, Origin]()
        for record in records:
            one = self._read(record, stopped)
            if one.entry is not None and one.cause and not one.held and one.entry.key is not None:
                stopped[one.entry.key] = one.entry.origin
            found.append(one)
        return found

    def _read(self, record: Received, stopped: Mapping[bytes, Origin]) -> _Read:
        entry = entry_of(record)
        if entry.origin in self._tools.books.ledger.letters:
            return _Read(record.offset(), None)  # it was read before, and stands in the dead letters
        try:
            if self._tools.sight.event(entry) is None:
                return _Read(record.offset(), None)
        except Refused as error:
            return _Read(record.offset(), entry, str(error))
        if entry.key is None:
            return _Read(record.offset(), entry)
        first = stopped.get(entry.key) or self._blocked(entry.key)
        return _Read(record.offset(), entry, f"behind {first}" if first else "", first is not None)

    def _blocked(self, key: bytes) -> Origin | None:
        """The first letter that a key waits for: one that is dead, or that is to be replayed and not in Redis yet."""
        ledger = self._tools.books.ledger
        if not ledger.is_parked(self._topic, self._partition, key):
            return None
        for letter in ledger.lane((self._topic, self._partition, key_text(key) or "")):
            if letter.state is State.DEAD or letter.origin not in self._again:
                return letter.origin
        return None

    def _letter(self, one: _Read) -> tuple[DeadLetter, bool]:
        assert one.entry is not None  # noqa: S101 - it has a cause; this tells mypy
        return one.entry.letter(one.cause, self._tools.books.name, 0 if one.held else 1), one.held

    async def _tick(self) -> bool:
        """Settle what was processed or given up; whether there was any."""
        group, books = self._tools.group, self._tools.books
        told = await group.tick(self._partition, self._epoch)
        self.floor = told.floor
        self.ages.settled(told.floor)
        if told.done:
            origins = [_origin(self._topic, entry) for entry in told.done]
            await self._record(resolved(origins, self._epoch))
            await group.resolved(self._partition, self._epoch, told.done)
            self._again.difference_update(origins)
        doomed = [] if self._full() else told.doomed
        if doomed:
            await self._pass_over([one for one in doomed if one.verb == "skip"])
            await self._bury([self._given_up(one) for one in doomed if one.verb != "skip" and not self._is_dead(one)])
            await group.give_up(self._partition, self._epoch, doomed)
            self._again.difference_update(one.entry.origin for one in doomed)
            log.warning("group.given_up", group=books.name, partition=self._partition, events=len(doomed))
        return bool(told.done or doomed)

    async def _pass_over(self, doomed: Sequence[Doomed]) -> None:
        if not doomed:
            return
        skipped = [str(one.entry.origin) for one in doomed]
        again = [one.entry.origin for one in doomed if one.again]
        await self._record([Fact(Kind.SKIPPED, {"origins": skipped}), *resolved(again, self._epoch)])

    def _is_dead(self, one: Doomed) -> bool:
        letter = self._tools.books.ledger.letters.get(one.entry.origin)
        return letter is not None and letter.state is State.DEAD

    def _given_up(self, one: Doomed) -> tuple[DeadLetter, bool]:
        attempt = one.entry.before + one.attempts
        return one.entry.letter(one.cause, self._tools.books.name, attempt), one.verb == "held"

    async def _bury(self, letters: Sequence[tuple[DeadLetter, bool]]) -> None:
        """Into the dead letters, and into the books, in this order."""
        if not letters:
            return
        records = [letter.outgoing(self._tools.deadletters) for letter, _ in letters]
        told = []
        for (letter, held), delivery in zip(letters, await self._tools.producer.publish(records), strict=True):
            if not isinstance(delivery, Position):
                raise delivery
            place = Place(delivery.partition, delivery.offset)
            count_letters(self._topic, self._tools.books.name, int(not held))
            told.append(Letter(letter.origin, key_text(letter.key), place, letter.cause, letter.attempt, held))
        await self._record(parked(told, self._epoch))

    async def _record(self, facts: Sequence[Fact]) -> None:
        await self._tools.books.record(facts)
        if not self._tools.books.ledger.owns((self._topic, self._partition), self._epoch):
            raise Lost("another dispatches the partition", retry_after=0.2)

    async def _replay(self) -> None:
        """The letters that are to be replayed, in order, at their rate, as many as there is room for."""
        ledger = self._tools.books.ledger
        if ledger.version == self._asked:
            return
        version = ledger.version
        asked = [one for one in ledger.replaying((self._topic, self._partition)) if one.origin not in self._again]
        part = self._paced(asked[:IN_ONE])
        found = await self._tools.box.fetch([letter.place for letter in part])
        gone = [str(letter.origin) for letter in part if letter.place not in found]
        if gone:
            why = "its record is not among the dead letters any more"
            await self._record([Fact(Kind.DISCARDED, {"origins": gone, "who": "nerv", "why": why})])
        entries = [entry_again(found[letter.place]) for letter in part if letter.place in found]
        count = await self._tools.group.replay(self._partition, self._epoch, entries) if entries else 0
        self._again.update(entry.origin for entry in entries[:count])
        if count == len(asked):
            self._asked = version

    def _paced(self, letters: Sequence[Letter]) -> Sequence[Letter]:
        """Those that are due by now. The rate is that of the subscription; each partition takes its share."""
        now = time.monotonic()
        for index, letter in enumerate(letters):
            if letter.rate is None:
                continue
            if self._due > now:
                return letters[:index]
            self._due = max(self._due, now - BUSY_SECONDS) + self._tools.partitions() / letter.rate
        return letters

    def _full(self) -> bool:
        count = len(self._tools.books.ledger.letters)
        self.fault = None if count < MOST_LETTERS else f"{count} dead letters wait for people; replay or discard some"
        return self.fault is not None


def _origin(topic: str, entry: str) -> Origin:
    partition, offset = entry.removesuffix(":r").split(":")
    return Origin(topic, int(partition), int(offset))
