# SPDX-License-Identifier: Apache-2.0
"""A compacted Kafka topic as a side: the latest record of each key is an object, a tombstone that there is none."""

import asyncio
import time
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice, takewhile
from types import TracebackType
from typing import Any, Self

import orjson

from nerv.errors import Invalid, Misconfigured, NervError, Unavailable, UnknownOutcome, VersionConflict
from nerv.kafka import BatchConsumer, CommitFailed, KafkaSettings, Outgoing, TransactionalProducer
from nerv.kafka.admin import Admin
from nerv.kafka.records import Received
from nerv.kafka.survey import Survey
from nerv.protocols.side import Changes, Entity, Position, Step, WriteOutcome, Written
from nerv.protocols.source import Complete
from nerv.sync.reading import MAX_FAULTS, FaultyRow, Model, fault, read_row, refuse
from nerv.sync.schema import key_of
from nerv.types import Description, Stamp, utc_now

BATCH = 1000  # objects that `load` gives at a time
ROWS = 1_000_000  # of a topic, unless another bound is given
KEPT = 1_000_000  # keys that a feed tells; whoever is further behind loads
CATCH_UP_SECONDS = 60.0  # to read what is new; a transaction that is left open holds everybody up
TOMBSTONE_MS = 86_400_000  # for which a topic keeps a tombstone, unless it says otherwise

Partition = tuple[str, int]


class TopicSide:
    """Use as `async with`. A record's key is the key of its object, its value the row as a JSON object; the topic must be
    compacted, for else Kafka forgets objects by their age. It is held in memory, and read on to its end at each question:
    complete is what was read to the end offsets that were asked for before.

    Kafka writes nothing on condition. With `exclusive` this side is the only writer, and then it can be written: of all sides
    over the topic one at a time, fenced by a transactional id, checks and writes. Other programs that write the topic
    meanwhile are not seen, and would be overwritten.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        identifiers: Sequence[str],
        *,
        name: str = "",
        row: Model | None = None,
        exclusive: bool = False,
        limit: int = ROWS,
    ) -> None:
        self.name = name or topic
        self.writable = exclusive
        self._settings, self._topic, self._identifiers = settings, topic, tuple(identifiers)
        self._row, self._limit = row, limit
        self._client = f"nerv-sync-{uuid.uuid4().hex[:8]}"
        self._survey = Survey(settings, self._client)
        self._held: dict[str, Entity] = {}  # removed ones among them
        self._places: dict[str, tuple[int, int]] = {}  # partition and offset of the latest record of each key
        self._latest: dict[int, OrderedDict[str, int]] = defaultdict(
            OrderedDict
        )  # keys by partition, in order of these
        self._faulty: dict[str, tuple[str, str, str]] = {}
        self._covered: dict[Partition, int] = {}
        self._epoch = ""
        self._began_ms = time.time_ns() // 1_000_000
        self._tombstone_ms = TOMBSTONE_MS
        self._consumer: BatchConsumer | None = None
        self._producer: TransactionalProducer | None = None
        self._turn = asyncio.Lock()
        self._records = self._written = 0

    async def __aenter__(self) -> Self:
        state = await asyncio.to_thread(Admin(self._settings, self._client).state_of, self._topic)
        config = await self._survey.config(self._topic)
        if "compact" not in config.get("cleanup.policy", ""):
            raise Misconfigured(
                f"topic {self._topic} is not compacted, so that it forgets objects by their age; set cleanup.policy=compact"
            )
        self._tombstone_ms = int(config.get("delete.retention.ms", TOMBSTONE_MS))
        self._epoch = state.id
        self._covered = {(self._topic, partition): 0 for partition in range(state.partitions)}
        self._consumer = await BatchConsumer(
            self._settings, self._client, self._client, assign=self._covered, reset="earliest", ends=True
        ).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.__aexit__(kind, error, trace)
        await self._drop_producer()

    async def load(self) -> AsyncIterator[Sequence[Entity] | Complete]:
        """Every object (see `Side.load`). Raises LoadRefused for records that are no rows."""
        async with self._turn:
            await self._catch_up()
            refuse([fault(*one) for one in islice(self._faulty.values(), MAX_FAULTS)])
            present = [entity for entity in self._held.values() if entity.row is not None]
        for start in range(0, len(present), BATCH):
            yield present[start : start + BATCH]
        yield Complete(len(present), utc_now())

    async def fetch(self, keys: Sequence[str]) -> list[Entity]:
        """The objects of these keys as they are now."""
        async with self._turn:
            await self._catch_up()
            refuse([fault(*self._faulty[key]) for key in keys if key in self._faulty])
            return [self._held.get(key) or Entity(key, None) for key in keys]

    async def changes(self, after: Position | None) -> Changes | None:
        """The keys of later records. None where tombstones may have been forgotten since the position was taken."""
        async with self._turn:
            await self._catch_up()
        now_ms = time.time_ns() // 1_000_000
        now = Position(
            self._epoch, f"{now_ms};" + ",".join(f"{p}:{at}" for (_, p), at in sorted(self._covered.items()))
        )
        if after is None:
            return Changes((), now)
        taken_ms, offsets = _parsed(after)
        # What this process has not read itself it may have read after it was compacted.
        forgotten = taken_ms < self._began_ms and now_ms - taken_ms > self._tombstone_ms // 2
        if after.epoch != self._epoch or forgotten or offsets.keys() != {p for _, p in self._covered}:
            return None
        if any(offsets[p] > at for (_, p), at in self._covered.items()):
            return None
        keys = [key for p, low in offsets.items() for key in self._since(p, low)]
        unchanged = all(offsets[p] == at for (_, p), at in self._covered.items())
        return None if len(keys) > KEPT else Changes(keys, after if unchanged else now)

    async def write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        """Write each object that still is as it was seen, all in one transaction."""
        if not self.writable:
            return [Invalid(f"{self.name} is only read: Kafka writes nothing on condition (see `exclusive`)")] * len(
                steps
            )
        async with self._turn:
            try:
                return await self._write(steps)
            except NervError as error:
                return [error] * len(steps)

    def describe(self) -> Description:
        """The side as data."""
        counters = {"held": len(self._held), "records": self._records, "written": self._written}
        outputs = (self._topic,) if self.writable else ()
        return Description("TopicSide", self.name, (self._topic,), outputs, counters=counters)

    async def _catch_up(self) -> None:
        """Read on to where the topic ends now, with what is in a transaction that is just being committed."""
        if self._consumer is None:
            raise Misconfigured(f"topic {self._topic} is not open; use the side as `async with`")
        ends = await self._survey.ends(self._covered, written=True)
        until = {partition: end for partition, end in ends.items() if end > self._covered[partition]}
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                async for batch in self._consumer.batches_to(until):
                    for record in batch:
                        self._take(record)
        except TimeoutError:
            raise Unavailable(
                f"topic {self._topic} was not read to its end within {CATCH_UP_SECONDS:g} s; is a transaction left open?"
            ) from None
        for partition, end in until.items():
            self._covered[partition] = max(end, self._covered[partition])

    def _take(self, record: Received) -> None:
        self._records += 1
        partition, offset = record.partition(), record.offset()
        self._covered[self._topic, partition] = max(offset + 1, self._covered[self._topic, partition])
        place = f"{self._topic} {partition}:{offset}"
        try:
            key = (record.key() or b"").decode()
        except UnicodeDecodeError:
            key = ""
        if not key:
            self._faulty[place] = (place, "key", "a record of a state has a key of text")
            return
        instant = datetime.fromtimestamp(record.timestamp()[1] / 1000, UTC)
        self._put(key, record.value(), partition, offset, Stamp.of(instant))

    def _put(self, key: str, value: bytes | None, partition: int, offset: int, stamp: Stamp) -> None:
        known = self._places.get(key)
        if known is not None and known[0] == partition and known[1] >= offset:
            return
        place = f"{self._topic} {partition}:{offset}"
        self._faulty.pop(key, None)
        if known is not None and known[0] != partition:
            self._faulty[key] = (
                place,
                "key",
                f"{key!r:.80} is in partition {known[0]}, too; nobody knows which is later",
            )
        if len(self._held) > self._limit:
            raise Misconfigured(f"topic {self._topic} has more than {self._limit} keys; raise the side's `limit`")
        row: Any = None
        if value is not None:
            try:
                row = self._read(key, value)
            except FaultyRow as faulty:
                self._faulty[key] = (place, *faulty.faults[0])
        self._places[key] = partition, offset
        self._held[key] = Entity(key, row, f"{partition}:{offset}", stamp)
        self._latest[partition][key] = offset
        self._latest[partition].move_to_end(key)

    def _read(self, key: str, value: bytes) -> Any:
        try:
            document = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise FaultyRow([("", f"it is not JSON: {error}")]) from None
        if not isinstance(document, dict):
            raise FaultyRow([("", "it is no JSON object")])
        row, _ = read_row(self._row, document)
        try:
            found = key_of(self._identifiers, row)
        except Invalid as error:
            raise FaultyRow([(", ".join(self._identifiers), error.detail)]) from None
        if found != key:
            raise FaultyRow([(", ".join(self._identifiers), f"the row is of {found!r:.80}, its record of {key!r:.80}")])
        return row

    def _since(self, partition: int, low: int) -> list[str]:
        newer = takewhile(lambda item: item[1] >= low, reversed(self._latest[partition].items()))
        return [key for key, _ in newer]

    async def _write(self, steps: Sequence[Step]) -> list[WriteOutcome]:
        producer = await self._fenced()
        await self._catch_up()  # after the fence: whoever wrote before has committed, and can write no more
        outcomes: list[WriteOutcome] = []
        records: list[tuple[int, Outgoing]] = []
        for number, step in enumerate(steps):
            now = self._held.get(step.key) or Entity(step.key, None)
            if now.version != step.version:
                outcomes.append(VersionConflict(f"{self.name}: {step.key} is not as it was seen"))
                continue
            outcomes.append(Written(None))
            records.append((number, Outgoing(self._topic, step.after, step.key.encode())))
        if not records:
            return outcomes
        try:
            places = await producer.write([record for _, record in records])
            await producer.commit([], {})
        except CommitFailed as error:
            await self._drop_producer()
            raise UnknownOutcome(f"{self.name}: {error.detail}") from error
        for (number, record), place in zip(records, places, strict=True):
            key = steps[number].key
            self._put(key, record.value, place.partition, place.offset, steps[number].stamp or Stamp.of(utc_now()))
            outcomes[number] = Written(self._held[key].version)
        self._written += len(records)
        return outcomes

    async def _fenced(self) -> TransactionalProducer:
        if self._producer is None:
            self._producer = TransactionalProducer(
                self._settings, f"nerv.sync/{self._topic}", self._client, destination=self._topic
            )
            try:
                await self._producer.start()
            except CommitFailed as error:
                await self._drop_producer()
                raise Unavailable(f"{self.name}: {error.detail}", retry_after=1.0) from error
        return self._producer

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()


def _parsed(position: Position) -> tuple[int, Mapping[int, int]]:
    """When a position was taken, in milliseconds, and its offsets by partition."""
    try:
        taken, _, offsets = str(position.sequence).partition(";")
        pairs = (part.split(":") for part in offsets.split(","))
        return int(taken), {int(partition): int(offset) for partition, offset in pairs}
    except ValueError:
        return 0, {}
