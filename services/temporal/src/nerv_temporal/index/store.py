# SPDX-License-Identifier: Apache-2.0
"""RocksDB as the index of history. Data and the offset it covers go in one write batch, so that replay is harmless."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from rocksdict import BlockBasedOptions, Options, Rdict, WriteBatch

from nerv.api.event.v1 import event_pb2
from nerv.cloudevents import to_proto
from nerv.history import Known
from nerv_temporal.index import keys
from nerv_temporal.model import Stored

log = structlog.get_logger(__name__)

BLOOM_BITS = 10.0  # a look for an id that is not there, the ordinary case, then reads no block


@dataclass(frozen=True, slots=True)
class PartitionState:
    """What the index holds of a partition: all before `next_offset`."""

    next_offset: int = 0
    recorded_us: int = 0
    address: str = ""


class Index:
    """Events by stream and version, ids for ever, and the offset covered of each partition.

    Written from the loop's thread only. Deleting the folder while the service is down loses nothing.
    """

    def __init__(self, path: Path, topic_id: str) -> None:
        """Open the index of a topic; that of another topic (or a recreated one) is discarded."""
        self._path = path
        self._db = _open(path)
        found = self._db.get(keys.META)
        if found is not None and found != topic_id.encode():
            log.warning("index.discarded", reason="the topic of history is another one")
            self.discard()
        self._db.put(keys.META, topic_id.encode())
        self._topic_id = topic_id
        self._partitions: dict[int, PartitionState] = {}

    def close(self) -> None:
        """Flush and close."""
        self._db.close()

    def discard(self) -> None:
        """Delete everything and start empty: the tail fills it again from Kafka."""
        self._db.close()
        shutil.rmtree(self._path)
        self._db = _open(self._path)
        self._partitions = {}

    def rebuild(self, reason: str) -> None:
        """Discard what is here and begin again for the same topic."""
        log.warning("index.discarded", reason=reason)
        self.discard()
        self._db.put(keys.META, self._topic_id.encode())

    def partition(self, partition: int) -> PartitionState:
        """What is covered of a partition."""
        state = self._partitions.get(partition)
        if state is None:
            data = self._db.get(keys.partition_key(partition))
            state = PartitionState() if data is None else PartitionState(*keys.unpack_partition(data))
            self._partitions[partition] = state
        return state

    def version(self, stream: str) -> int:
        """The stream's version; 0 when it does not exist."""
        return keys.unpack_version(self._db.get(keys.stream_key(stream)))

    def known(self, stream: str, event_id: str) -> Known | None:
        """The event of this id in the stream, or None."""
        data = self._db.get(keys.id_key(stream, event_id))
        return None if data is None else keys.unpack_known(data)

    def apply(self, partition: int, events: Sequence[Stored], state: PartitionState) -> None:
        """Add committed events, and move what is covered to `state`, in one batch.

        The caller has left out what is covered already; applying an event twice would write the same bytes.
        """
        batch = WriteBatch(raw_mode=True)
        for stored in events:
            event, version = stored.event, stored.event.sequence or 0
            batch.put(keys.event_key(event.stream, version), to_proto(event).SerializeToString())
            batch.put(keys.id_key(event.stream, event.id), keys.pack_known(Known(version, stored.digest)))
            batch.put(keys.stream_key(event.stream), keys.pack_version(version))
        batch.put(
            keys.partition_key(partition),
            keys.pack_partition(state.next_offset, state.recorded_us, state.address),
        )
        self._db.write(batch)
        self._partitions[partition] = state

    def event(self, stream: str, version: int) -> event_pb2.Event | None:
        """One event, or None."""
        data = self._db.get(keys.event_key(stream, version))
        return None if data is None else event_pb2.Event.FromString(data)

    def events(self, stream: str, first: int, last: int, *, backward: bool) -> Iterator[event_pb2.Event]:
        """The events of a stream with versions `first` to `last`, both inclusive; from `last` down if `backward`."""
        iterator = self._db.iter()
        low, high = keys.event_key(stream, first), keys.event_key(stream, last)
        if backward:
            iterator.seek_for_prev(high)
        else:
            iterator.seek(low)
        while iterator.valid() and low <= iterator.key() <= high:
            yield event_pb2.Event.FromString(iterator.value())
            if backward:
                iterator.prev()
            else:
                iterator.next()

    def category(self, category: str | None, after: tuple[str, int] | None) -> Iterator[event_pb2.Event]:
        """The events of all streams of a category (None: of all), by stream and version, after a position."""
        low, high = keys.category_bounds(category)
        iterator = self._db.iter()
        iterator.seek(low if after is None else keys.event_key(after[0], after[1] + 1))
        exact = None if category is None else b"e" + category.encode()
        while iterator.valid() and (key := iterator.key()) < high:
            # Between `<category>` and `<category>-` sort names such as `<category>!x`, which are other categories.
            if exact is None or key[len(exact) : len(exact) + 1] in (b"-", b"\x00"):
                yield event_pb2.Event.FromString(iterator.value())
            iterator.next()


def _open(path: Path) -> Rdict:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    table = BlockBasedOptions()
    table.set_bloom_filter(BLOOM_BITS, False)
    options.set_block_based_table_factory(table)
    try:
        return Rdict(str(path), options)
    except Exception as error:  # rocksdict raises bare Exception
        if "lock" in str(error).lower():
            raise
        aside = path.with_name(f"{path.name}.broken-{path.stat().st_mtime_ns if path.exists() else 0}")
        log.warning("index.broken", error=str(error), set_aside=aside.name, detail="it is rebuilt from Kafka")
        path.rename(aside)
        return Rdict(str(path), options)
