# SPDX-License-Identifier: Apache-2.0
"""Fold a topic into views: many events a key in memory, then the deltas to Kafka, then one script for views and cursors.

What is folded is written while the next batch is folded. That is safe: the script takes it only where the write before has
left the cursors, and one that is refused ends the session with all that it has in memory. While more waits, what is folded
within a second is written as one: of a key that comes again and again there is one delta and one view.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from nerv.cancelling import end
from nerv.errors import NervError
from nerv.kafka import BatchConsumer, Received
from nerv.kafka.deadletters import count_letters, where
from nerv.projections import Projection
from nerv.protocols.views import Cursor, Epoch, Move, Verdict, View, Views
from nerv.telemetry import names as n
from nerv.telemetry import process_spans, processed, span_of_all
from nerv.telemetry.traffic import saw
from nerv_projector.backlog import Backlog
from nerv_projector.batching import Batch, Sorter
from nerv_projector.changes import Feed
from nerv_projector.deadletters import Letter, Letters
from nerv_projector.folded import Cache, Folded, Kept
from nerv_projector.lanes import Partition, Session, StartOver
from nerv_projector.meter import Meter
from nerv_projector.model import Entity, entity_of_view, fold, fold_with_care, versioned
from nerv_projector.records import Sourced, with_context

CLOSE_SECONDS = 1.0  # how long what is being written may take when the partitions are let go
TRACES = 32  # that a write of several batches is linked to
SLICE = 1000  # records folded at a time: what they are parsed into is in the processor's cache until it is let go
CHUNK = 250  # keys folded before the loop may answer a request
TOGETHER_SECONDS = 1.0  # of folding that is written as one while more waits: how late views are, what a crash repeats
TOGETHER_VIEWS = 10_000  # views that they may come to: Redis answers nobody while a script runs


@dataclass(slots=True)
class Held:
    """A cursor, as it was last written or read."""

    stored: bytes
    cursor: Cursor


class FoldHop:
    """Folds history itself (key: entity of the stream), or the projection's rekeyed topic."""

    def __init__(
        self, projection: Projection[Any], views: Views, letters: Letters, feed: Feed, topic: str, group: str,
        cache: int, version: int = 1, skipped: Callable[[], AbstractSet[str]] = frozenset,
    ) -> None:  # fmt: skip
        self.projection, self.views, self.letters, self.feed = projection, views, letters, feed
        self.topic = topic
        self.skipped = skipped
        self.meter = Meter()
        self.session: FoldSession | None = None
        self.parked = asyncio.Event()  # set when a key was parked, and when partitions were taken over
        self._group, self._cache, self._version = group, cache, version
        count_letters(topic, self.name, 0)

    @property
    def name(self) -> str:
        """`fold-aircraft`, and `fold-aircraft.2` of its second version."""
        return versioned(f"fold-{self.projection.name}", self._version)

    def group(self, epoch: Epoch) -> str:
        """The group that names the consumer; the cursors are in the store, not here."""
        return f"{self._group}.fold.{self.projection.name}"

    async def open(self, epoch: Epoch, partitions: frozenset[int]) -> tuple[Session, Mapping[Partition, int]]:
        """Take up at the cursors."""
        stored = (await self.views.progress(epoch)).cursors
        if missing := partitions - stored.keys():
            raise StartOver(f"{self.projection.name} has no cursor for partitions {sorted(missing)}", retry_after=0.1)
        held = {p: Held(stored[p], Cursor.from_bytes(stored[p])) for p in partitions}
        session = self.session = FoldSession(self, epoch, held, Cache(self._cache))
        self.parked.set()
        return session, {(self.topic, p): held[p].cursor.next_offset for p in partitions}


class FoldSession:
    """Folds the partitions it was opened on."""

    def __init__(self, hop: FoldHop, epoch: Epoch, held: dict[int, Held], cache: Cache) -> None:
        self._hop, self._epoch, self._held, self._cache = hop, epoch, held, cache
        self._sorter = Sorter(hop.projection, epoch, {p: found.cursor for p, found in held.items()}, hop.skipped)
        self._consumer: BatchConsumer | None = None
        self._folded = Folded()  # and not being written
        self._whole = True  # no batch is folded by half
        self._told: int | None = None  # by which decision the version is live, as far as those who follow it were told
        self._writing: asyncio.Task[None] | None = None
        self._unwritten: Mapping[str, Kept] = {}  # of what is being written

    def attach(self, consumer: BatchConsumer) -> None:
        """By the consumer is known whether more waits."""
        self._consumer = consumer

    async def close(self) -> None:
        """Let what is being written end, or give it up: the cursors tell whether it was written. The rest is folded again."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=CLOSE_SECONDS)
            await end(self._writing)

    async def take(self, records: list[Received]) -> None:
        """Fold a batch, and have it written, at once or with the next ones that wait already. When a write begins, the one
        before is durable, or its error is raised. The list is emptied on the way, so that memory is free to be used again.
        """
        while records:
            part = records[:SLICE]
            del records[:SLICE]
            await self._take(part, more=bool(records))

    async def _take(self, records: Sequence[Received], *, more: bool) -> None:
        hop = self._hop
        batch = await self._sorter.sort(records)
        if not hop.projection.rekeyed:  # else they were counted on their way in
            saw(f"topic:{hop.topic}", f"projection:{hop.projection.name}", sum(map(len, batch.events.values())))
        group, events = hop.group(self._epoch), with_context(batch.events.values())
        spans = process_spans(hop.topic, group, events, {n.PROJECTION: hop.projection.name})
        with processed(group, {hop.topic: len(records)}), spans as traces:
            if self._folded.with_keys(batch.events) > TOGETHER_VIEWS:
                await self._begin_writing()
            self._whole = False
            await self._fold(batch)
            self._whole = True
            self._folded.traces += traces.values()
            batch.events.clear()  # what waits to be written keeps no records in memory
            if not (more or self._behind) or self._due:
                await self._begin_writing()

    @property
    def _due(self) -> bool:
        folded = self._folded
        return bool(folded.batches) and time.monotonic() > folded.began + TOGETHER_SECONDS

    @property
    def _behind(self) -> bool:
        return self._consumer is not None and self._consumer.behind

    async def settle(self) -> None:
        """Until what was taken is durable. Raises StartOver, or what Kafka or Redis met."""
        await self._begin_writing()
        await self._written()

    async def _begin_writing(self) -> None:
        if not self._whole:
            raise StartOver(f"{self._hop.projection.name}: a batch was folded by half", retry_after=0.1)
        if self._folded.batches:
            await self._written()
            folded, self._folded = self._folded, Folded()
            self._unwritten = folded.keys
            self._writing = asyncio.create_task(self._traced(folded), name=f"write-{self._hop.projection.name}")

    async def _written(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing, self._unwritten = None, {}

    async def _fold(self, batch: Batch) -> None:
        """What the keys become; keys that are parked stay as they are. Where this fails, nothing is written any more."""
        stored = await self._load(self._cache.without(batch.events))
        folded, entities = self._folded, {}
        projection, cache = self._hop.projection, self._cache
        for number, (key, sources) in enumerate(batch.events.items(), 1):
            try:
                before = cache.get(key) or entity_of_view(projection, stored.get(key))
                after = before
                if before.parked is None:
                    after = fold(projection, before, [event for event, _ in sources])
                    folded.add(key, before, after, sources)
            except NervError as error:
                if error.status >= 500:
                    raise  # not the app's
                after = await self._park(key, sources, batch, folded)
            except Exception:
                after = await self._park(key, sources, batch, folded)
            entities[key] = after
            if number % CHUNK == 0:
                await asyncio.sleep(0)
        cache.update(entities)  # only now: a key that makes room may be one of this batch
        folded.took(batch)

    async def _load(self, keys: Sequence[str]) -> dict[str, View]:
        """The views of these keys with all that was taken before, of those that there are."""
        if not self._unwritten.keys().isdisjoint(keys):
            await self._written()  # the cache was too small to hold it until now
        folded = self._folded.keys
        stored = await self._hop.views.load(self._epoch, [key for key in keys if key not in folded])
        return stored | {key: folded[key].entity.view() for key in keys if key in folded}

    async def _park(self, key: str, sources: Sequence[Sourced], batch: Batch, folded: Folded) -> Entity[Any]:
        """Fold the key again from its view, up to the event that fails; that one goes to the dead letters."""
        view = (await self._load([key])).get(key)
        return self._refold(key, view, sources, batch.begins[sources[0][1].partition()], folded)

    def _refold(
        self, key: str, view: View | None, sources: Sequence[Sourced], since: Cursor, folded: Folded
    ) -> Entity[Any]:
        events, places = [event for event, _ in sources], [where(record) for _, record in sources]
        found, poison = fold_with_care(self._hop.projection, view, events, places, since)
        # A state that no longer fits its type cannot be loaded; a parked key needs none.
        before: Entity[Any] = Entity(0) if view is None else Entity(view.version, None, view.state)
        after: Entity[Any] = Entity(found.version, None, found.state, found.parked, found.index)
        if poison is None:
            after = entity_of_view(self._hop.projection, found)
        else:
            folded.poisoned[key] = Letter(sources[poison.index][1], poison.cause, poison.attempt)
        folded.add(key, before, after, sources)
        return after

    async def mend(self, backlog: Backlog) -> None:
        """Fold parked keys on, with all that has come of them since. One that fails again is parked again. No batch is folded
        meanwhile.

        Does nothing where another session folds the partition now. Raises StartOver, or what the backlog, Kafka or Redis met.
        """
        await self.settle()
        held = self._held.get(backlog.partition)
        if held is None or backlog.epoch != self._epoch:
            return
        await backlog.read(held.cursor.next_offset)
        folded, stored = Folded(), await self._hop.views.load(self._epoch, list(backlog.parked))
        for key, view in stored.items():
            if view.parked is not None and view.parked["position"] == backlog.parked[key]:
                sources = backlog.events.get(key, ())
                if sources:
                    self._refold(key, view, sources, backlog.since, folded)
                else:  # its event is skipped, and nothing came after it
                    mended: Entity[Any] = Entity(view.version, None, view.state, None, view.index)
                    folded.keys[key] = Kept(mended, backlog.partition, view.version, view.state)
        await self._tell(folded, [])
        await self._rewrite(backlog.partition, folded.views(), folded.counts.get(backlog.partition, 0))
        self._cache.forget(folded.keys)
        if folded.poisoned:
            self._hop.parked.set()

    async def note(self, partition: int, keys: Mapping[str, str], books: int) -> None:
        """Keep with these parked keys, which are parked at these positions, that a version of the books has their letters."""
        await self.settle()
        if partition not in self._held:
            return
        found = (await self._hop.views.load(self._epoch, list(keys))).items()
        noted = {
            key: replace(view, parked={**view.parked, "books": str(books)}, partition=partition)
            for key, view in found
            if view.parked is not None and view.parked["position"] == keys[key]
        }
        await self._rewrite(partition, noted, 0)

    async def _rewrite(self, partition: int, views: Mapping[str, View], folded: int) -> None:
        """Write keys that are parked, at the cursor as it is: only one of several owners can."""
        if not views:
            return
        held = self._held[partition]
        cursor = replace(held.cursor, mends=held.cursor.mends + 1)
        await self._apply({partition: Move(held.stored, cursor, folded, frozenset(views))}, views)

    async def _traced(self, folded: Folded) -> None:
        told: dict[str, AttributeValue] = {n.PROJECTION: self._hop.projection.name, n.BATCH_COUNT: len(folded.keys)}
        with span_of_all(n.WRITE_VIEWS, SpanKind.INTERNAL, folded.traces[:TRACES], told):
            await self._write(folded)

    async def _write(self, folded: Folded) -> None:
        """Letters and deltas first: what is not in Kafka when the cursors move would never get there."""
        await self._tell(folded, [letter for batch in folded.batches for letter in batch.letters])
        moves: dict[int, Move] = {}
        for batch in folded.batches:  # the last one that moves a partition says where to
            for partition, cursor in batch.ends.items():
                held = self._held[partition]
                moved = replace(cursor, mends=held.cursor.mends)
                moves[partition] = Move(held.stored, moved, folded.counts.get(partition, 0))
        await self._apply(moves, folded.views())
        if folded.poisoned:
            self._hop.parked.set()
        self._hop.meter.folded(folded.counts, folded.newest())

    async def _tell(self, folded: Folded, letters: Sequence[Letter]) -> None:
        hop = self._hop
        letters = [*letters, *folded.poisoned.values()]
        places = await hop.letters.write(letters, hop.name)
        folded.noted(places[len(places) - len(folded.poisoned) :])
        hop.meter.failed(letter.record.partition() for letter in letters)
        self._told = await hop.feed.write(self._epoch, folded.changes(), self._told)

    async def _apply(self, moves: Mapping[int, Move], views: Mapping[str, View]) -> None:
        if not moves:
            return
        verdict = await self._hop.views.apply(self._epoch, moves, views)
        if verdict is not Verdict.DONE:
            name = self._hop.projection.name
            raise StartOver(f"{name}: the cursor was {verdict}; another owner or epoch is at work", retry_after=0.1)
        for partition, move in moves.items():
            self._held[partition] = Held(move.cursor.to_bytes(), move.cursor)

    def at_end(self, ended: Mapping[Partition, int]) -> bool:
        """Whether a cursor stands before marks that end its partition, a batch could not be written, or the version went live; or
        what was to be written together with more is still alone.
        """
        if self._writing is not None:
            return self._writing.done()
        if self._due or self._hop.feed.since() not in (None, self._told):
            return True
        return any(ended.get((self._hop.topic, p), 0) > held.cursor.next_offset for p, held in self._held.items())

    async def rest(self, ended: Mapping[Partition, int]) -> None:
        """Move the cursors to the end, and tell those who follow that the version is live, should that be new."""
        await self.settle()
        self._told = await self._hop.feed.write(self._epoch, [], self._told)
        moves = {}
        for partition, held in self._held.items():
            end_offset = ended.get((self._hop.topic, partition), 0)
            if end_offset > held.cursor.next_offset:
                moves[partition] = Move(held.stored, replace(held.cursor, next_offset=end_offset))
        await self._apply(moves, {})
