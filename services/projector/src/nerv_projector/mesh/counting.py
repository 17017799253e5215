# SPDX-License-Identifier: Apache-2.0
"""Count events by type and second, and the keys that come most, in windowed tables of Faust.

The tables hold the last seconds alone. Whoever takes over a partition counts those seconds again from Kafka, so that nothing is
counted twice and nothing is missing.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nerv.kafka import BatchConsumer, Received
from nerv.kafka.survey import Survey
from nerv.protocols.views import Epoch
from nerv_projector.faust_app import Windows
from nerv_projector.lanes import Partition, Session

SHOWN_SECONDS = 10  # over which rates are told, but for the present second
KEPT_SECONDS = 30.0  # by the tables
HOT = 20  # keys of a batch and second that are counted: those that come most
TYPES = 200  # the same of types
NAME = 256  # bytes of a type or a key that are told
BREATH = 500  # records counted before the loop may answer a request

Named = tuple[int, str]
"""The number of a partition, and a type, or a key and its topic."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Events by partition: of each type in each of the last whole seconds, and of the keys that came most."""

    first: int  # the first of these seconds
    types: Mapping[int, Mapping[str, Sequence[int]]]
    keys: Mapping[int, Mapping[str, int]]


class Tables:
    """What was counted."""

    def __init__(self, types: Windows, keys: Windows) -> None:
        self._types, self._keys = types, keys

    def add(self, second: int, types: Mapping[Named, int], keys: Mapping[Named, int]) -> None:
        """So many more in a second."""
        self._types.add(second, types)
        self._keys.add(second, keys)

    def clear(self) -> None:
        """Begin anew."""
        self._types.clear()
        self._keys.clear()

    def counts(self, now: float) -> Counts:
        """The last whole seconds."""
        first = int(now) - SHOWN_SECONDS
        types: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0] * SHOWN_SECONDS))
        for (number, name), second, count in self._types.items():
            if 0 <= second - first < SHOWN_SECONDS:
                types[number][name][second - first] += count
        keys: dict[int, Counter[str]] = defaultdict(Counter)
        for (number, name), second, count in self._keys.items():
            if 0 <= second - first < SHOWN_SECONDS:
                keys[number][name] += count
        return Counts(first, types, {number: dict(found.most_common(HOT)) for number, found in keys.items()})


class CountHop:
    """Reads the partitions of history, and of the app's own topics, whose numbers are owned here."""

    name = "rates"

    def __init__(
        self, tables: Tables, survey: Survey, topics: Callable[[], Mapping[str, int]], partitions: int, group: str
    ) -> None:
        """`topics`: those that there are, and how many partitions each has; more than history has are shared out in turn."""
        self._tables, self._survey, self._topics = tables, survey, topics
        self._partitions, self._group = partitions, group

    def group(self, epoch: Epoch) -> str:
        """It names the consumer; nothing is committed."""
        return f"{self._group}.rates"

    async def open(self, epoch: Epoch, partitions: frozenset[int]) -> tuple[Session, Mapping[Partition, int]]:
        """From the seconds on that are shown."""
        topics = await asyncio.to_thread(self._topics)
        owned = [(t, p) for t, count in topics.items() for p in range(count) if p % self._partitions in partitions]
        since = int(time.time() - SHOWN_SECONDS - 1) * 1000
        starts = await self._survey.at(since, owned, written=True) if owned else {}
        self._tables.clear()
        return CountSession(self._tables, self._partitions), starts


class CountSession:
    """Counts; what it has counted is in the tables."""

    def __init__(self, tables: Tables, partitions: int) -> None:
        self._tables, self._partitions = tables, partitions

    def attach(self, consumer: BatchConsumer) -> None:
        """Needs none."""

    async def take(self, records: Sequence[Received]) -> None:
        """Count a batch, and add what it comes to at once."""
        types: dict[int, Counter[Named]] = defaultdict(Counter)
        keys: dict[int, Counter[Named]] = defaultdict(Counter)
        for number, record in enumerate(records):
            if not number % BREATH:
                await asyncio.sleep(0)
            second, place = record.timestamp()[1] // 1000, record.partition() % self._partitions
            types[second][place, type_of(record)] += 1
            if (key := record.key()) is not None:
                keys[second][place, _text(key)] += 1
        for second, counted in types.items():
            self._tables.add(second, dict(counted.most_common(TYPES)), dict(keys[second].most_common(HOT)))

    def at_end(self, ended: Mapping[Partition, int]) -> bool:
        """There are no cursors to move."""
        return False

    async def rest(self, ended: Mapping[Partition, int]) -> None:
        """There are no cursors to move."""

    async def close(self) -> None:
        """Holds nothing."""


def type_of(record: Received) -> str:
    """The event's type; of a record that is no event in binary mode, its topic."""
    value: bytes | None  # which a client may write, whatever the types say
    for name, value in record.headers() or ():
        if name == "ce_type" and value is not None:
            return _text(value)
    return f"({record.topic()})"


def _text(value: bytes) -> str:
    return value[:NAME].decode("utf-8", "replace")
