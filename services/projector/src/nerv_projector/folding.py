# SPDX-License-Identifier: Apache-2.0
"""Fold a topic into views: many events a key in memory, then one script that writes the views with the cursors."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nerv.errors import Invalid, NervError
from nerv.kafka import BatchConsumer, Received
from nerv.kafka.deadletters import where
from nerv.projections import Projection
from nerv.protocols.views import Cursor, Epoch, Move, Verdict, View, Views
from nerv.telemetry import names as n
from nerv.telemetry import process_spans
from nerv_projector.deadletters import Letter, Letters
from nerv_projector.lanes import Partition, Session, StartOver
from nerv_projector.model import Entity, entity_of_view, fold, fold_with_care
from nerv_projector.records import Sourced, origin_of, parse

CHUNK = 100  # keys folded before the loop may answer a request


@dataclass(slots=True)
class Held:
    """A cursor, as it was last written or read."""

    stored: bytes
    cursor: Cursor


@dataclass(slots=True)
class Sorted:
    """A batch by key, and where it takes the cursors."""

    events: dict[str, list[Sourced]] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    origins: dict[int, dict[int, int]] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)


class Cache:
    """The states used last, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._entities: OrderedDict[str, Entity[Any]] = OrderedDict()
        self._limit = limit

    def __contains__(self, key: str) -> bool:
        return key in self._entities

    def __getitem__(self, key: str) -> Entity[Any]:
        self._entities.move_to_end(key)
        return self._entities[key]

    def update(self, entities: Mapping[str, Entity[Any]]) -> None:
        """Keep these as the newest, and let the oldest go."""
        for key, entity in entities.items():
            self._entities[key] = entity
            self._entities.move_to_end(key)
        while len(self._entities) > self._limit:
            self._entities.popitem(last=False)


class FoldHop:
    """Folds history itself (key: entity of the stream), or the projection's rekeyed topic."""

    def __init__(
        self, projection: Projection[Any], views: Views, letters: Letters, topic: str, group: str, cache: int
    ) -> None:
        self.projection, self.views, self.letters = projection, views, letters
        self.topic = topic
        self._group, self._cache = group, cache

    @property
    def name(self) -> str:
        """`fold-aircraft`."""
        return f"fold-{self.projection.name}"

    def group(self, epoch: Epoch) -> str:
        """The group that names the consumer; the cursors are in the store, not here."""
        return f"{self._group}.fold.{self.projection.name}"

    async def open(self, epoch: Epoch, partitions: frozenset[int]) -> tuple[Session, Mapping[Partition, int]]:
        """Take up at the cursors."""
        stored = (await self.views.progress(epoch)).cursors
        if missing := partitions - stored.keys():
            raise StartOver(f"{self.projection.name} has no cursor for partitions {sorted(missing)}", retry_after=0.1)
        held = {p: Held(stored[p], Cursor.from_bytes(stored[p])) for p in partitions}
        session = FoldSession(self, epoch, held, Cache(self._cache))
        return session, {(self.topic, p): held[p].cursor.next_offset for p in partitions}


class FoldSession:
    """Folds the partitions it was opened on."""

    def __init__(self, hop: FoldHop, epoch: Epoch, held: dict[int, Held], cache: Cache) -> None:
        self._hop, self._epoch, self._held, self._cache = hop, epoch, held, cache

    def attach(self, consumer: BatchConsumer) -> None:
        """Nothing is asked of the consumer."""

    async def close(self) -> None:
        """Nothing but memory is held."""

    async def take(self, records: Sequence[Received]) -> None:
        """Fold a batch and write it."""
        hop = self._hop
        batch = self._sort(records)
        events = (event for sources in batch.events.values() for event, _ in sources)
        with process_spans(hop.topic, hop.group(self._epoch), events, {n.PROJECTION: hop.projection.name}):
            entities, views, folded = await self._fold(batch)
            await hop.letters.write(batch.letters, hop.name)
            await self._write(batch, views, folded)
        self._cache.update(entities)

    def _sort(self, records: Sequence[Received]) -> Sorted:
        batch = Sorted()
        keys_of = self._rekeyed_keys if self._hop.projection.rekeyed else self._stream_keys
        for record in records:
            partition, offset = record.partition(), record.offset()
            if offset < batch.offsets.get(partition, self._held[partition].cursor.next_offset):
                continue
            batch.offsets[partition] = offset + 1
            try:
                for key, source in keys_of(record, batch):
                    batch.events.setdefault(key, []).append(source)
            except Invalid as error:  # not an event at all, so that no key can be parked
                batch.letters.append((record, str(error)))
        return batch

    def _stream_keys(self, record: Received, batch: Sorted) -> list[tuple[str, Sourced]]:
        event = parse(record)
        return [(key, (event, record)) for key in self._hop.projection.keys(event)]

    def _rekeyed_keys(self, record: Received, batch: Sorted) -> list[tuple[str, Sourced]]:
        epoch, source, position = origin_of(record)
        if epoch != self._epoch.token:
            return []
        partition = record.partition()
        origins = batch.origins.get(partition)
        if origins is None:
            origins = batch.origins[partition] = dict(self._held[partition].cursor.origins)
        if position < origins.get(source, 0):
            return []  # a double
        origins[source] = position + 1
        return [((record.key() or b"").decode(), (parse(record), record))]

    async def _fold(self, batch: Sorted) -> tuple[dict[str, Entity[Any]], dict[str, View], dict[int, int]]:
        """What the keys become; keys that are parked stay as they are."""
        projection = self._hop.projection
        unknown = [key for key in batch.events if key not in self._cache]
        stored = await self._hop.views.load(self._epoch, unknown)
        entities: dict[str, Entity[Any]] = {}
        views: dict[str, View] = {}
        folded: dict[int, int] = {}
        for number, (key, sources) in enumerate(batch.events.items(), 1):
            try:
                entity = self._cache[key] if key in self._cache else entity_of_view(projection, stored.get(key))
                entities[key] = entity
                if entity.parked is not None:
                    continue
                before = entity.version
                entities[key], views[key] = fold(projection, entity, [event for event, _ in sources])
            except NervError as error:
                if error.status >= 500:
                    raise  # not the app's
                before, entities[key], views[key] = await self._park(key, sources, batch)
            except Exception:
                before, entities[key], views[key] = await self._park(key, sources, batch)
            partition = sources[0][1].partition()
            folded[partition] = folded.get(partition, 0) + views[key].version - before
            if number % CHUNK == 0:
                await asyncio.sleep(0)
        return entities, views, folded

    async def _park(self, key: str, sources: Sequence[Sourced], batch: Sorted) -> tuple[int, Entity[Any], View]:
        """Fold the key again from the store, up to the event that fails; that one goes to the dead letters."""
        view = (await self._hop.views.load(self._epoch, [key])).get(key)
        events = [event for event, _ in sources]
        found, poison = fold_with_care(self._hop.projection, view, events, [where(record) for _, record in sources])
        if poison is not None:
            batch.letters.append((sources[poison.index][1], poison.cause))
        # A state that no longer fits its type cannot be loaded; a parked key needs none.
        entity = entity_of_view(self._hop.projection, found) if poison is None else Entity(parked=found.parked)
        return (view.version if view else 0), entity, found

    async def _write(self, batch: Sorted, views: Mapping[str, View], folded: Mapping[int, int]) -> None:
        moves: dict[int, Move] = {}
        for partition, offset in batch.offsets.items():
            held = self._held[partition]
            origins = batch.origins.get(partition, held.cursor.origins)
            cursor = Cursor(held.cursor.topic_id, offset, origins)
            moves[partition] = Move(held.stored, cursor, folded.get(partition, 0))
        await self._apply(moves, views)

    async def _apply(self, moves: Mapping[int, Move], views: Mapping[str, View]) -> None:
        if not moves:
            return
        verdict = await self._hop.views.apply(self._epoch, moves, views)
        if verdict is not Verdict.DONE:
            name = self._hop.projection.name
            raise StartOver(f"{name}: the cursor was {verdict}; another owner or epoch is at work", retry_after=0.1)
        for partition, move in moves.items():
            self._held[partition] = Held(move.cursor.to_bytes(), move.cursor)

    def _behind(self, ended: Mapping[Partition, int]) -> dict[int, int]:
        found = {p: ended.get((self._hop.topic, p), 0) for p in self._held}
        return {p: end for p, end in found.items() if end > self._held[p].cursor.next_offset}

    def at_end(self, ended: Mapping[Partition, int]) -> bool:
        """Whether a cursor stands before marks that end its partition."""
        return any(ended.get((self._hop.topic, p), 0) > held.cursor.next_offset for p, held in self._held.items())

    async def rest(self, ended: Mapping[Partition, int]) -> None:
        """Move the cursors to the end."""
        moves = {}
        for partition, end in self._behind(ended).items():
            held = self._held[partition]
            moves[partition] = Move(held.stored, Cursor(held.cursor.topic_id, end, held.cursor.origins))
        await self._apply(moves, {})
