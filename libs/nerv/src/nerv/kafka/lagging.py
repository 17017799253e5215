# SPDX-License-Identifier: Apache-2.0
"""How far a group is behind on the partitions that this replica reads: in offsets, and in seconds. For metrics alone."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping

from nerv.errors import NervError
from nerv.kafka.consumer import BatchConsumer
from nerv.telemetry.lags import Delays, Lags

Partition = tuple[str, int]

LOOK_SECONDS = 5.0  # between two looks at the ends of partitions, which the last fetch has told
NEW_SECONDS = 0.25  # the same, while there is a partition whose end no fetch has told yet
MARKS = 512  # of a partition


def now_ms() -> int:
    """As Kafka stamps records."""
    return time.time_ns() // 1_000_000


class Ages:
    """When the oldest event of a partition was written that was read and is not settled, as exactly as batches are small."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()  # the offset after a batch, the time of its first record

    def read(self, end: int, first_ms: int) -> None:
        """A batch up to `end` begins with a record of that time."""
        self._marks.append((end, first_ms))
        if len(self._marks) > MARKS:  # two become one, of the older time: it is settled with the later
            kept = list(self._marks)
            self._marks = deque((later[0], older[1]) for older, later in zip(kept[::2], kept[1::2], strict=False))
            if len(kept) % 2:
                self._marks.append(kept[-1])

    def settled(self, offset: int) -> None:
        """All before this offset is."""
        while self._marks and self._marks[0][0] <= offset:
            self._marks.popleft()

    def seconds(self) -> float:
        """The age; 0 where all is settled."""
        try:
            return max(0.0, (now_ms() - self._marks[0][1]) / 1000)
        except IndexError:  # asked on another thread, while the last one was settled
            return 0.0


class Behind:
    """Counts for a group that settles whole batches, in order."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._settled: dict[Partition, int] = {}
        self._ages: dict[Partition, Ages] = {}
        self._ends: dict[Partition, int] = {}
        self._told: set[Partition] = set()

    def starts(self, offsets: Mapping[Partition, int]) -> None:
        """These partitions are read from here on."""
        self._settled |= offsets
        self._ages |= {partition: Ages() for partition in offsets}

    def reads(self, ends: Mapping[Partition, int], first_ms: int) -> None:
        """A batch of these was read, of which the first record has this time."""
        for partition, end in ends.items():
            self._ages.setdefault(partition, Ages()).read(end, first_ms)

    def settles(self, ends: Mapping[Partition, int]) -> None:
        """All before these offsets is settled."""
        self._settled |= ends
        for partition, end in ends.items():
            if partition in self._ages:
                self._ages[partition].settled(end)

    def stops(self, partitions: Iterable[Partition]) -> None:
        """Others read these."""
        self._told.difference_update(partitions)
        for partition in partitions:
            for kept in (self._settled, self._ages, self._ends):
                kept.pop(partition, None)

    async def watch(self, consumer: BatchConsumer) -> None:
        """Look where the partitions end, until cancelled. One that is new is told as soon as a fetch has told its end."""
        due = 0.0
        while True:
            settled = list(self._settled)
            if not self._told.issuperset(settled) or time.monotonic() >= due:
                try:
                    self._ends = await consumer.known_ends(settled)
                except NervError:  # its thread ends, and who reads tells why
                    return
                self._told |= self._ends.keys()
                due = time.monotonic() + LOOK_SECONDS
            await asyncio.sleep(NEW_SECONDS)

    def lags(self) -> Lags:
        """By group, topic and partition."""
        return {(self._group, *p): max(0, end - self._settled.get(p, end)) for p, end in list(self._ends.items())}

    def delays(self) -> Delays:
        """The same in seconds: see `Ages`."""
        return {(self._group, *p): ages.seconds() for p, ages in list(self._ages.items()) if p in self._ends}
