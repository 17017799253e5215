# SPDX-License-Identifier: Apache-2.0
"""The parked keys of a version: what people decide of their dead letters is done here, by whoever owns the partition.

That a key is parked is said by its view, which is written with the cursor. The books (`nerv.subscriptions`) are told of it a
moment later; as with groups and reactions they are what people see and decide by. A letter that is replayed has its key folded
on, from the event that failed, with all that has come since. One that is discarded has its event skipped, by every fold and for
ever, and then the same. A letter whose key is not parked there any more, by a rebuild or else, is settled. Editions of letters
are not folded: history stands as it is.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from nerv.errors import Conflict, NervError, Retry, Unavailable
from nerv.kafka.deadletters import Origin, Place
from nerv.protocols.views import Cursor, Epoch
from nerv.subscriptions import Books, Fact, Kind, Ledger, Letter, State
from nerv.subscriptions.books import Store
from nerv.subscriptions.deciding import parked, resolved
from nerv.subscriptions.ledger import partition_text
from nerv.types import new_event_id
from nerv_projector.backlog import Backlog, Read
from nerv_projector.batching import Sorter
from nerv_projector.folding import FoldHop, FoldSession
from nerv_projector.lanes import Lane
from nerv_projector.model import attempt_of, since_of

log = structlog.get_logger(__name__)

LOOK_SECONDS = 10.0  # between two looks where nothing was heard
GATHER_SECONDS = 0.1  # for more to be parked or decided, before a look
PAUSE_SECONDS = 1.0  # after a fault that may pass
RECORD_SECONDS = 20.0  # for temporal to take what is recorded
PAGE = 1000  # parked keys that are looked at in one go
TOGETHER = 1000  # keys of a partition that are mended, or told of, in one go
MOST = 10_000  # parked keys that are seen to; where more are, the fold is broken, and a rebuild is what mends that

Keyed = Mapping[str, Mapping[str, str]]
"""Keys that are parked, and what their views say of that."""

Work = Callable[[], tuple[Epoch, frozenset[int]] | None]
"""The epoch and the partitions that are worked on now; None while there are none."""

Skip = Callable[[str], Awaitable[object]]
"""Have every fold pass over an event, by its id. Raises Conflict where too many are skipped already."""


class Parks:
    """The parks of one version of a projection. `run` until it is cancelled."""

    def __init__(
        self, hop: FoldHop, lane: Lane, read: Read, store: Store | None, skip: Skip
    ) -> None:  # fmt: skip
        self._hop, self._lane, self._read, self._store, self._skip = hop, lane, read, store, skip
        self._token = (
            new_event_id()
        )  # of this owner: what one before it says of a partition that it has taken counts no more
        self._session: FoldSession | None = None
        self._said: frozenset[int] = frozenset()  # partitions that this session has been said to have taken
        self._hopeless: set[str] = set()  # positions of which too much has come, or nothing is left

    def nudge(self) -> None:
        """Have it look: events may be skipped now."""
        self._hop.parked.set()

    async def run(self, work: Work) -> None:
        """Look, whenever something was parked or decided."""
        while True:
            try:
                await self._follow(work)
            except NervError as error:
                log.warning("parks", projection=self._hop.name, cause=error.detail)
                with suppress(NervError):
                    await self._round(work, None)  # without the books events can be skipped all the same
                await asyncio.sleep(PAUSE_SECONDS)

    async def end(self, partitions: frozenset[int]) -> None:
        """The version is given up, so that nobody waits for its letters any more."""
        if self._store is None:
            return
        try:
            async with Books(self._store, self._hop.name) as books:
                await self._settle(books, self._ours(books, partitions), {})
        except NervError as error:
            log.warning("parks.not_settled", projection=self._hop.name, cause=error.detail)

    async def _follow(self, work: Work) -> None:
        if self._store is None:
            await self._rounds(work, None)
            return
        async with Books(self._store, self._hop.name) as books:
            taken = books.ledger.spec is not None
            if taken:
                log.error("parks.name_taken", group=books.name, do="delete the group, or name the projection otherwise")
            await self._rounds(work, None if taken else books)

    async def _rounds(self, work: Work, books: Books | None) -> None:
        events = [self._hop.parked] if books is None else [self._hop.parked, books.changed]
        while True:
            await self._round(work, books)
            waiting = [asyncio.ensure_future(event.wait()) for event in events]
            try:
                await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()
            await asyncio.sleep(GATHER_SECONDS)
            for event in events:
                event.clear()

    async def _round(self, work: Work, books: Books | None) -> None:
        if (at := work()) is None:
            return
        epoch, partitions = at
        found, whole = await self._parked(epoch, partitions)
        if books is not None:
            partitions = await self._take(books, partitions)
            if whole:
                await self._settle(books, partitions, found)
        for partition, keyed in found.items():
            await self._see_to(epoch, partition, keyed, books if partition in partitions else None)

    async def _parked(self, epoch: Epoch, partitions: frozenset[int]) -> tuple[Mapping[int, Keyed], bool]:
        """The keys of these partitions, by partition, and whether these are all: where a fold takes nothing they are too many."""
        found: dict[int, dict[str, Mapping[str, str]]] = defaultdict(dict)
        after, seen = None, 0
        while page := await self._hop.views.page(epoch, after, PAGE, parked=True):
            after, seen = page[-1][0], seen + len(page)
            for key, view in page:
                if view.parked is not None and (partition := _origin(view.parked).partition) in partitions:
                    found[partition][key] = view.parked
            if seen >= MOST:
                log.warning("parks.too_many", projection=self._hop.name, keys=seen, do="mend the fold, then rebuild")
                return found, False
        return found, True

    def _ours(self, books: Books, partitions: frozenset[int]) -> frozenset[int]:
        topic, token = self._hop.topic, self._token
        return frozenset(p for p in partitions if books.ledger.owns((topic, p), token))

    async def _take(self, books: Books, partitions: frozenset[int]) -> frozenset[int]:
        """Say that these are ours from now on, if that is not said yet; those that nobody has taken meanwhile."""
        if self._hop.session is not self._session:
            self._session, self._said = self._hop.session, frozenset()
        new = sorted(partitions - self._said - self._ours(books, partitions))
        self._said |= partitions  # should another take one later, it is his, until a session begins anew
        if new:
            named = [partition_text((self._hop.topic, partition)) for partition in new]
            await _record(books, [Fact(Kind.TAKEN, {"epoch": self._token, "partitions": named})])
        return self._ours(books, partitions)

    async def _settle(self, books: Books, partitions: frozenset[int], found: Mapping[int, Keyed]) -> None:
        """Letters of keys that are not parked any more, or at another event."""
        stand = {_origin(said) for keyed in found.values() for said in keyed.values()}
        topic = self._hop.topic
        mine = (one for one in books.ledger.letters if one.topic == topic and one.partition in partitions)
        if gone := sorted(origin for origin in mine if origin not in stand):
            await _record(books, resolved(gone, self._token))

    async def _see_to(self, epoch: Epoch, partition: int, keyed: Keyed, books: Books | None) -> None:
        skipped = self._hop.skipped()
        on = {key: said for key, said in keyed.items() if said["event"] in skipped}
        on = {key: said for key, said in on.items() if said["position"] not in self._hopeless}
        if books is not None:
            fresh = {key: said for key, said in keyed.items() if key not in on and "books" not in said}
            if fresh:
                await self._note(partition, dict(list(fresh.items())[:TOGETHER]), books)
            if len(fresh) > TOGETHER:
                self.nudge()  # for the others
            for key in keyed.keys() - on.keys() - fresh.keys():
                if await self._decided(keyed[key], books.ledger):
                    on[key] = keyed[key]
        if on:
            await self._mend(epoch, partition, dict(list(on.items())[:TOGETHER]), books)

    async def _note(self, partition: int, keyed: Keyed, books: Books) -> None:
        letters = [_letter(key, said) for key, said in keyed.items()]
        await _record(books, parked(letters, self._token))
        if any(letter.origin not in books.ledger.letters for letter in letters):
            return  # another has taken the partition, and says it himself
        positions, version = {key: said["position"] for key, said in keyed.items()}, books.ledger.version
        await self._lane.run(lambda: self._at_work().note(partition, positions, version))

    async def _decided(self, said: Mapping[str, str], ledger: Ledger) -> bool:
        """Whether a key goes on by what people have decided of its letter."""
        if int(said["books"]) > ledger.version:
            return False  # not read that far here
        letter = ledger.letters.get(_origin(said))
        if letter is not None:
            return letter.state is State.REPLAYING
        try:
            await self._skip(said["event"])
        except Conflict as error:
            log.warning("parks.not_skipped", projection=self._hop.name, event_id=said["event"], cause=error.detail)
            return False
        return said["position"] not in self._hopeless

    async def _mend(self, epoch: Epoch, partition: int, keyed: Keyed, books: Books | None) -> None:
        try:
            await self._fold_on(epoch, partition, keyed)
        except NervError as error:
            if error.retry is not Retry.NEVER:
                raise
            log.warning("parks.not_mended", projection=self._hop.name, partition=partition, cause=error.detail)
            self._hopeless.update(said["position"] for said in keyed.values())
            if books is not None:
                letters = [_letter(key, {**said, "cause": error.detail}) for key, said in keyed.items()]
                there = [one for one in letters if one.origin in books.ledger.letters]
                await _record(books, parked(there, self._token))

    async def _fold_on(self, epoch: Epoch, partition: int, keyed: Keyed) -> None:
        hop = self._hop
        since = min(map(since_of, keyed.values()), key=lambda cursor: cursor.next_offset)
        sorter = Sorter(hop.projection, epoch, {partition: since}, hop.skipped)
        positions = {key: said["position"] for key, said in keyed.items()}
        backlog = Backlog(sorter, self._read, epoch, partition, since, positions)
        cursors = (await hop.views.progress(epoch)).cursors
        # Most of it while batches are folded; the rest when they wait.
        await backlog.read(Cursor.from_bytes(cursors[partition]).next_offset)
        await self._lane.run(lambda: self._at_work().mend(backlog))
        log.info("parks.mended", projection=hop.name, partition=partition, keys=len(keyed))
        hop.parked.set()  # the letters of those that go on are to be settled

    def _at_work(self) -> FoldSession:
        if self._hop.session is None:
            raise Unavailable(f"{self._hop.name} has not started yet", retry_after=0.5)
        return self._hop.session


def _origin(said: Mapping[str, str]) -> Origin:
    return Origin.parse(said["position"])


def _letter(key: str, said: Mapping[str, str]) -> Letter:
    return Letter(_origin(said), key, Place.parse(said["letter"]), said["cause"], attempt_of(said))


async def _record(books: Books, facts: Sequence[Fact]) -> None:
    try:
        async with asyncio.timeout(RECORD_SECONDS):
            await books.record(facts)
    except TimeoutError:
        raise Unavailable(f"temporal did not take what was decided of {books.name}", retry_after=1.0) from None
