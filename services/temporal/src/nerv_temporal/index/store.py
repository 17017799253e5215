# SPDX-License-Identifier: Apache-2.0
"""The index of history. Data and the offset it covers go in one write batch, so that replay is harmless."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import structlog
from rocksdict import WriteBatch

from nerv.api.event.v1 import event_pb2
from nerv.cloudevents import from_proto
from nerv.history import Known
from nerv.history.lifecycle import MARKS, Mark, mark_of
from nerv.types import category_of
from nerv_temporal.index import keys
from nerv_temporal.index.database import Database
from nerv_temporal.index.keys import Place
from nerv_temporal.index.rows import Row, row_of
from nerv_temporal.index.snapshots import LAST, Snapshots
from nerv_temporal.index.streams import (
    StreamState,
    category_bounds,
    late_key,
    mark_key,
    pack_stream,
    stream_key,
    unpack_stream,
    version_in,
)
from nerv_temporal.model import Stored

log = structlog.get_logger(__name__)

LAST_PLACE = (2**32 - 1, 2**64 - 1)
STREAMS = 50_000  # whose state is at hand; some 15 MB
_MARKS = frozenset(kind.encode() for kind in MARKS)


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What the index holds of a partition: all before `next_offset`."""

    next_offset: int = 0
    recorded_us: int = 0
    address: str = ""
    next_command: int = 0  # of the topic of commands: those before it are answered


class Index:
    """Events by stream and version and in the order of the log, ids for ever, and the offset covered of each partition.

    Written from the loop's thread only. Deleting the folder while the service is down loses nothing.
    """

    def __init__(self, path: Path, topic_id: str, *, counted: bool = False) -> None:
        """Open the index of a topic; that of another topic (or a recreated one) is discarded."""
        self.database = Database(path, counted=counted)
        self.snapshots = Snapshots(self.database)
        self._partitions: dict[int, PartitionState] = {}
        self._streams: dict[str, StreamState] = {}  # as the database has them, of those asked for lately
        self._topic_id = topic_id
        found = self.database.get(keys.META)
        if found is not None and found != keys.meta(topic_id):
            self.rebuild("the topic of history, or the format of the index, is another one")
        self.database.put(keys.META, keys.meta(topic_id))

    def close(self) -> None:
        """Flush and close."""
        self.database.close()

    def rebuild(self, reason: str) -> None:
        """Delete everything and begin again for the same topic: the tail fills it from Kafka."""
        log.warning("index.discarded", reason=reason)
        self.database.discard()
        self._partitions, self._streams = {}, {}
        self.database.put(keys.META, keys.meta(self._topic_id))

    def partition(self, partition: int) -> PartitionState:
        """What is covered of a partition."""
        state = self._partitions.get(partition)
        if state is None:
            data = self.database.get(keys.partition_key(partition))
            state = PartitionState() if data is None else PartitionState(*keys.unpack_partition(data))
            self._partitions[partition] = state
        return state

    def version(self, stream: str) -> int:
        """The stream's version; 0 when it does not exist."""
        return self.stream(stream).version

    def stream(self, stream: str) -> StreamState:
        """The stream as a whole; version 0 when it does not exist."""
        found = self._streams.get(stream)
        if found is None:
            found = unpack_stream(self.database.get(stream_key(stream)))
            if len(self._streams) >= STREAMS:
                self._streams.clear()
            self._streams[stream] = found
        return found

    def mark(self, stream: str) -> str | None:
        """The type of the last event that deleted, reopened or tombstoned the stream, or None."""
        marked = self.stream(stream).marked
        event = self.event(stream, marked) if marked else None
        return None if event is None else event.type

    def marks(self, stream: str) -> Iterator[Mark]:
        """The events that deleted, reopened or tombstoned the stream, the newest first."""
        marked = self.stream(stream).marked
        for key, _ in self.database.scan(mark_key(stream, 1), mark_key(stream, marked), backward=True):
            event = self.event(stream, version_in(key))
            if event is not None:
                yield mark_of(from_proto(event))

    def known(self, stream: str, event_id: str) -> Known | None:
        """The event of this id in the stream, or None."""
        data = self.database.get(keys.id_key(stream, event_id))
        return None if data is None else keys.unpack_known(data)

    def apply(self, partition: int, events: Sequence[tuple[int, Stored]], state: PartitionState) -> None:
        """Add committed events, each with its offset, and move what is covered to `state`, in one batch.

        The caller has left out what is covered already; applying an event twice would write the same bytes.
        """
        self.write(partition, [(offset, row_of(stored)) for offset, stored in events], state)

    def write(self, partition: int, rows: Iterable[tuple[int, Row]], state: PartitionState) -> None:
        """As `apply`, of events as the index keeps them."""
        batch, streams, entries = WriteBatch(raw_mode=True), dict[bytes, StreamState](), list[tuple[bytes, bytes]]()
        put = batch.put
        for offset, row in rows:
            stream, version = row.stream, keys.pack_version(row.version)
            put(keys.place_key(partition, offset), keys.pack_place(row.recorded_us, version, stream, row.type))
            entries.append((b"e%b\x00%b" % (stream, version), row.message))
            entries.append((b"i%b\x00%b" % (stream, row.event_id), version + row.digest))
            if row.chain:
                entries.append((keys.pack_chain(row.chain, partition, offset), b""))
            self._note(batch, streams, row)
        entries.sort()  # neighbours come one after the other: RocksDB takes a third less time for them, the sorting included
        for key, value in entries:
            put(key, value)
        for name, found in streams.items():
            put(b"s" + name, pack_stream(found))
        put(
            keys.partition_key(partition),
            keys.pack_partition(state.next_offset, state.recorded_us, state.next_command, state.address),
        )
        self.database.write(batch)
        self._partitions[partition] = state
        self._streams.update({name.decode(): found for name, found in streams.items()})

    def _note(self, batch: WriteBatch, streams: dict[bytes, StreamState], row: Row) -> None:
        before = streams.get(row.stream) or self.stream(row.stream.decode())
        if row.version <= before.version:
            return  # it was applied before
        mark = row.type in _MARKS
        streams[row.stream] = before.after(row.version, row.time_us, mark=mark)
        if not mark and row.time_us >= before.latest_us:
            return
        stream = row.stream.decode()
        if mark:
            batch.put(mark_key(stream, row.version), b"")
        if row.time_us < before.latest_us:
            batch.put(late_key(stream, row.time_us, row.version), b"")
            self.snapshots.void(batch, stream, row.time_us)

    def late(self, stream: str, after: tuple[int, int], until_us: int) -> Iterator[int]:
        """The versions of late events behind (time, version) `after` and up to an instant, in that order."""
        low, high = late_key(stream, *after), late_key(stream, until_us, LAST)
        for key, _ in self.database.scan(low, high):
            if key != low:
                yield version_in(key)

    def event(self, stream: str, version: int) -> event_pb2.Event | None:
        """One event, or None."""
        data = self.database.get(keys.event_key(stream, version))
        return None if data is None else event_pb2.Event.FromString(data)

    def events(self, stream: str, first: int, last: int, *, backward: bool) -> Iterator[event_pb2.Event]:
        """The events of a stream with versions `first` to `last`, both inclusive; from `last` down if `backward`."""
        low, high = keys.event_key(stream, first), keys.event_key(stream, last)
        for _, value in self.database.scan(low, high, backward=backward):
            yield event_pb2.Event.FromString(value)

    def places(self, partition: int, start: int, stop: int, *, backward: bool, limit: int) -> list[Place]:
        """The first places of a partition with offsets from `start` up to but without `stop`; the last ones if `backward`.

        Offsets without an event (fences, closings, what Kafka keeps for itself) have no place.
        """
        if start >= stop:
            return []
        low, high = keys.place_key(partition, start), keys.place_key(partition, max(stop - 1, 0))
        found = self.database.scan(low, high, backward=backward)
        return [keys.unpack_place(key, value) for key, value in islice(found, limit)]

    def chain(self, name: str, limit: int) -> tuple[list[tuple[Place, event_pb2.Event]], bool]:
        """The events with a correlation id, which is that of the event that their chain began with: at most `limit`, and whether
        these are all.
        """
        chain = keys.chain_of(name.encode())
        scanned = self.database.scan(keys.pack_chain(chain, 0, 0), keys.pack_chain(chain, *LAST_PLACE))
        found = [keys.unpack_chain(key) for key, _ in islice(scanned, limit + 1)]
        wanted = [keys.place_key(*place) for place in found[:limit]]
        datas = self.database.get_many(wanted) if wanted else []
        places = [keys.unpack_place(key, data) for key, data in zip(wanted, datas, strict=True) if data is not None]
        events = zip(places, self.load(places) if places else [], strict=True)
        # Eight bytes may be those of another chain, too.
        mine = [(place, e) for place, e in events if e is not None and e.correlation_id == name]
        return mine, len(found) <= limit

    def which(self, streams: Sequence[str], event_id: str) -> tuple[str, int] | None:
        """The first of these streams that has an event of this id, and its version."""
        found = self.database.get_many([keys.id_key(stream, event_id) for stream in streams])
        known = ((stream, data) for stream, data in zip(streams, found, strict=True) if data is not None)
        return next(((stream, keys.unpack_known(data).version) for stream, data in known), None)

    def load(self, places: Sequence[Place]) -> list[event_pb2.Event | None]:
        """The events at these places, in order."""
        found = self.database.get_many([keys.event_key(place.stream, place.version) for place in places])
        return [None if data is None else event_pb2.Event.FromString(data) for data in found]

    def streams(self, category: str | None, after: str = "") -> Iterator[tuple[str, int]]:
        """The streams of a category (None: of all) with their versions, by name, after a name.

        A category's streams are `<category>` itself and all that begin with `<category>-`.
        """
        low, high = category_bounds(category)
        for key, value in self.database.scan(max(low, stream_key(after) + b"\0"), high):
            name = key[1:].decode()
            # Between `<category>` and `<category>-` sort names such as `<category>!x`, which are other categories.
            if key < high and (category is None or category_of(name) == category):
                yield name, unpack_stream(value).version
