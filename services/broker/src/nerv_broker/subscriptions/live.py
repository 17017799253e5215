# SPDX-License-Identifier: Apache-2.0
"""The end of a topic, read once for all who follow it.

What is read stands in a short ring of rounds, each written out once. Who is slow loses his place in the ring, and reads for
himself until he has come up again. A bell wakes all who wait together, and rests as long as it took to serve them: a thousand
subscribers are served some times a second, a few at once, and either leaves half of the loop to others.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nerv.errors import NervError
from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.kafka.survey import Survey
from nerv_broker.middleware import Chains
from nerv_broker.subscriptions.lines import Line, body, line
from nerv_broker.subscriptions.positions import position

BATCH = 500
FETCHED_KIB = 16 * 1024  # that wait for being read
KEPT_BYTES = 4 * 1024 * 1024  # of what is written out; the events of it take as much again
PIECE_BYTES = 64 * 1024  # what a subscriber is sent at a time is no less than a round, and hardly more than this
LONGEST_REST = 1.0  # seconds between two bells at most
IDLE_SECONDS = 60.0  # after this a topic that nobody follows is followed no more

Offsets = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Round:
    """What was read at one time: the lines with what is sent of each, and the position after them.

    `whole` is what somebody gets who wants everything.
    """

    lines: Sequence[tuple[Line, bytes]]
    after: Offsets
    whole: bytes


class Ring:
    """The last rounds, by number, within a bound of bytes."""

    def __init__(self, start: Offsets, kept: int = KEPT_BYTES) -> None:
        self._rounds: deque[Round] = deque()
        self._base, self._kept = start, kept
        self._size = 0
        self.first = 0

    @property
    def next(self) -> int:
        """The number of the round that comes next."""
        return self.first + len(self._rounds)

    @property
    def end(self) -> Offsets:
        """The position after the last round."""
        return self._rounds[-1].after if self._rounds else self._base

    def add(self, lines: Sequence[Line]) -> None:
        """One more round; the oldest go."""
        made = _round(self.end, lines)
        self._rounds.append(made)
        self._size += len(made.whole)
        while self._size > self._kept and len(self._rounds) > 1:
            gone = self._rounds.popleft()
            self._base, self._size = gone.after, self._size - len(gone.whole)
            self.first += 1

    def entry(self, offsets: Offsets) -> int | None:
        """The number of the round to go on with at these offsets; None where rounds would be missed."""
        if offsets.keys() != self._base.keys():
            return None
        for number in range(self.next, self.first - 1, -1):
            before = self._rounds[number - self.first - 1].after if number > self.first else self._base
            if all(offsets[partition] >= offset for partition, offset in before.items()):
                return number
        return None

    def since(self, number: int) -> list[Round] | None:
        """The rounds from this one on, as many as go well into one piece; None where it is gone."""
        if number < self.first:
            return None
        found: list[Round] = []
        size = 0
        while size < PIECE_BYTES and number + len(found) < self.next:
            found.append(self._rounds[number - self.first + len(found)])
            size += len(found[-1].whole)
        return found


def _round(before: Offsets, lines: Sequence[Line]) -> Round:
    offsets = dict(before)
    written: list[tuple[Line, bytes]] = []
    parts: list[bytes] = []
    passed = False
    for one in lines:
        offsets[one.partition] = one.offset + 1
        sent = b"" if one.dropped else body(one)
        named = b"" if one.dropped else b"id: " + position(offsets, one.partition, others=True).encode() + b"\n" + sent
        written.append((one, named))
        parts.append(named)
        passed = one.dropped
    if passed:
        parts.append(f"id: {position(offsets, others=True)}\n\n".encode())
    return Round(written, offsets, b"".join(parts))


class Live:
    """One topic followed from its end, by a consumer in no group. Ends with the error of its consumer, or when nobody has used
    it for a while.
    """

    def __init__(self, topic: str, start: Offsets, chains: Chains, heartbeat: float) -> None:
        self._topic, self._chains, self._heartbeat = topic, chains, heartbeat
        self.ring = Ring(start)
        self.used = time.monotonic()
        self._rung = 0  # rounds that everybody has been woken for
        self._waiting: list[asyncio.Future[None]] = []
        self._news = asyncio.Event()
        self._error: NervError | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self._task is None or self._task.done()

    def start(self, kafka: KafkaSettings, client_id: str) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._run(kafka, client_id))

    async def close(self) -> None:
        """End, and let all go."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def rounds(self, number: int) -> list[Round] | None:
        """The rounds from this number on, at the next bell where there is none yet; [] where a heartbeat is due, None where they
        are gone or nothing more comes. Raises what ended the reading.
        """
        if number >= self._rung and not self.over:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        self.used = time.monotonic()
        if self._error is not None:
            raise self._error
        return self.ring.since(number)

    async def _run(self, kafka: KafkaSettings, client_id: str) -> None:
        reading = asyncio.create_task(self._read(kafka, client_id))
        try:
            while not reading.done() and time.monotonic() - self.used < IDLE_SECONDS:
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({news, reading}, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                await self._ring()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            self._wake()

    async def _read(self, kafka: KafkaSettings, client_id: str) -> None:
        assign = {(self._topic, partition): offset for partition, offset in self.ring.end.items()}
        try:
            async with BatchConsumer(
                kafka, client_id, client_id, assign=assign, batch=BATCH, eager=True, fetched_kib=FETCHED_KIB
            ) as consumer:
                async for records in consumer.batches():
                    self.ring.add([line(record, self._topic, self._chains) for record in records])
                    self._news.set()
        except NervError as error:
            self._error = error

    async def _ring(self) -> None:
        self._news.clear()
        began = time.monotonic()
        self._wake()
        await asyncio.sleep(0)  # all who were woken go before this goes on
        await asyncio.sleep(min(time.monotonic() - began, LONGEST_REST))

    def _wake(self) -> None:
        self._rung = self.ring.next
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class Lives:
    """The topics that are followed now."""

    def __init__(
        self, kafka: KafkaSettings, client_id: str, survey: Survey, chains: Chains, heartbeat_seconds: float
    ) -> None:
        self._kafka, self._client_id, self._survey = kafka, client_id, survey
        self._chains, self._heartbeat = chains, heartbeat_seconds
        self._lives: dict[str, Live] = {}
        self._starting = asyncio.Lock()

    def get(self, topic: str) -> Live | None:
        """The one of a topic, where it is followed."""
        found = self._lives.get(topic)
        if found is None or found.over:
            return None
        found.used = time.monotonic()
        return found

    async def start(self, topic: str, partitions: int) -> Live:
        """The one of a topic, from its end as it is now where it was not followed. One that has fewer partitions makes way for
        another, which goes on where it ends, and reads what was added from the beginning. Raises Unavailable.
        """
        async with self._starting:
            known = self.get(topic)
            if known is not None and len(known.ring.end) >= partitions:
                return known
            if known is not None:
                await known.close()
                return self._begin(topic, dict.fromkeys(range(partitions), 0) | dict(known.ring.end))
            ends = await self._survey.ends([(topic, partition) for partition in range(partitions)])
            return self._begin(topic, {partition: offset for (_, partition), offset in ends.items()})

    def _begin(self, topic: str, start: Offsets) -> Live:
        made = self._lives[topic] = Live(topic, start, self._chains, self._heartbeat)
        made.start(self._kafka, f"{self._client_id}-live")
        return made

    async def widen(self, topic: str, partitions: int) -> None:
        """It has so many partitions now. Raises Unavailable."""
        if self.get(topic) is not None:
            await self.start(topic, partitions)

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(live.close() for live in self._lives.values()))
