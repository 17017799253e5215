# SPDX-License-Identifier: Apache-2.0
"""Publish at Kafka's own speed from asyncio: produce on the loop's thread, and serve delivery reports in bulk there too.

A thread of its own for the reports has to take the interpreter's lock for each one, from a loop that is busy producing
(docs/adr/0002). Reports are served after every call and by a timer, so that few records are alive at the same time:
memory that is in no cache any more costs as much again as producing does.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

import structlog
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as NativeProducer

from nerv.errors import NervError, Overloaded, Unavailable
from nerv.kafka.faults import batch_error, delivery_error, request_error
from nerv.kafka.hearing import keep_hearing
from nerv.kafka.records import Delivery, Outgoing, Position
from nerv.kafka.settings import KafkaSettings
from nerv.limits import MIB
from nerv.types import Description

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.001  # how often reports are served while records are in flight; otherwise nothing runs
DELIVERY_TIMEOUT_MS = 30_000  # after this a record that Kafka did not answer is an unknown outcome
HEAR_EVERY = 64  # records that are sent one by one until reports are served, whatever the loop does
QUEUE_KIB = 2 * 1024 * 1024  # that librdkafka would hold: it is bounded before, by what is let in
DRAIN_SECONDS = 8.0  # a service has 10 s to end (rule 16)
PURGE_SECONDS = 1.0  # for the client's own threads to let go of what is given up


class Bounds(NamedTuple):
    """What may wait for Kafka: so many records, and of their values no more than a call above so many bytes."""

    records: int = 100_000
    size: int = 512 * MIB


BOUNDS = Bounds()

Report: TypeAlias = Callable[[KafkaError | None, Message | None], None]


class _Placing:
    """A call that is told where each of its records stands."""

    __slots__ = ("free", "future", "left", "places")

    def __init__(self, size: int, future: "asyncio.Future[list[Delivery]]", free: Callable[[], None]) -> None:
        self.places: list[Any] = [None] * size
        self.left = size
        self.future, self.free = future, free

    def report(self, index: int, error: KafkaError | None, message: Message | None) -> None:
        """What became of one record."""
        if error is None and message is not None:
            self.places[index] = _position(Position, (message.topic(), message.partition(), message.offset()))
        else:
            self.places[index] = delivery_error(error or KafkaError(KafkaError._FAIL))
        self.left -= 1
        if not self.left:
            self.free()
            if not self.future.done():
                self.future.set_result(self.places)


class _Counting:
    """A call that is told when all of its records stand, and what went wrong."""

    __slots__ = ("errors", "free", "future", "left")

    def __init__(self, size: int, future: "asyncio.Future[list[NervError]]", free: Callable[[], None]) -> None:
        self.errors: list[NervError] = []
        self.left = size
        self.future, self.free = future, free

    def report(self, error: KafkaError | None, message: Message | None) -> None:
        """What became of one record."""
        if error is not None:
            self.errors.append(delivery_error(error))
        self.left -= 1
        if not self.left:
            self.free()
            if not self.future.done():
                self.future.set_result(self.errors)


_position: Callable[..., Position] = tuple.__new__  # takes a third of the time that a NamedTuple's constructor takes


def _settle(
    future: "asyncio.Future[Position]", free: Callable[[], None], error: KafkaError | None, message: Message | None
) -> None:
    free()
    if future.done():  # whoever asked has gone away
        return
    if error is None and message is not None:
        future.set_result(_position(Position, (message.topic(), message.partition(), message.offset())))
    else:
        future.set_exception(delivery_error(error or KafkaError(KafkaError._FAIL)))


class Producer:
    """Publishes records; answers once all replicas have them.

    Use as `async with`, on one loop. At least once by itself: Kafka drops the client's own retries (idempotent producer),
    but a caller that repeats after an unknown outcome writes a second record. Records of one key stand in the order of
    the calls. A call that is cancelled takes nothing back: its records are on their way.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        client_id: str,
        *,
        bounds: Bounds = BOUNDS,
        linger_ms: int = 2,
    ) -> None:
        self._native = NativeProducer(
            settings.producer(client_id)
            | {
                "linger.ms": linger_ms,
                "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
                "queue.buffering.max.messages": bounds.records + 1,
                "queue.buffering.max.kbytes": QUEUE_KIB,
            }
        )
        self._bounds = bounds
        self._bytes = 0  # of the values that wait
        self._unheard = 0  # sent one by one since reports were served
        self.name = client_id
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._entering = threading.Lock()
        self._entered = False
        keep_hearing(self)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        with self._entering:
            self._entered = True
        return self

    def hear(self) -> None:
        """Serve what the client has to say, on the loop, where reports have to be; for any thread."""
        with self._entering:
            if not self._entered:  # and so there are no reports
                self._native.poll(0)
        if (loop := self._loop) is not None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        if self._loop is not None:
            self._serve()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not await self._drained(DRAIN_SECONDS):
            # What Kafka has not answered is given up, and whoever waits for it is told. Its reports have to be heard: the client
            # would keep them for ever, they this producer, and this its client with threads and connections.
            self._native.purge(blocking=False)
            await self._drained(PURGE_SECONDS)
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        if self.waiting:
            log.error("producer.stays", producer=self.name, waiting=self.waiting)
        else:
            await asyncio.to_thread(self._native.close)

    async def _drained(self, seconds: float) -> bool:
        """Whether nothing waits any more within this time."""
        deadline = time.monotonic() + seconds
        while self.waiting and time.monotonic() < deadline:
            self._serve()
            await asyncio.sleep(0.01)
        return not self.waiting

    @property
    def waiting(self) -> int:
        """Records that wait for Kafka."""
        return len(self._native)

    async def publish(self, records: Sequence[Outgoing]) -> list[Delivery]:
        """Produce `records` and wait for Kafka. The answer has one entry for each record, in their order: its position,
        or the error that says whether it was refused or is unknown.

        Raises Overloaded when more records or bytes would be waiting than may; then none of these was sent.
        """
        if not records:
            return []
        placing = _Placing(len(records), *self._admit(records))
        report = placing.report
        for index, record in enumerate(records):
            self._produce(record, partial(report, index))
        self._serve()
        return await placing.future

    async def publish_all(self, records: Sequence[Outgoing]) -> None:
        """Produce `records` and wait until Kafka has every one of them. Nobody is told where they stand, which costs less.

        Raises the gravest error of any record, which says what became of the others: UnknownOutcome when all should be
        repeated with the same ids. Raises Overloaded as `publish` does.
        """
        if not records:
            return
        counting = _Counting(len(records), *self._admit(records))
        report = counting.report
        for record in records:
            self._produce(record, report)
        self._serve()
        if errors := await counting.future:
            raise batch_error(errors, len(records))

    def send(self, record: Outgoing) -> "asyncio.Future[Position]":
        """Produce one record; the future has its position, or raises what became of it. Raises Overloaded at once.

        A future for each record costs more than all else about it: where many records are at hand, `publish` them.
        """
        future, free = self._admit((record,))
        self._produce(record, partial(_settle, future, free))
        self._unheard += 1
        if self._timer is None or self._unheard > HEAR_EVERY:
            self._serve()
        return future

    def _admit(self, records: Sequence[Outgoing]) -> "tuple[asyncio.Future[Any], Callable[[], None]]":
        """A future, and what to call once none of them waits any more."""
        if self._loop is None:
            raise RuntimeError("use the producer as `async with`")
        most, most_bytes = self._bounds
        if self.waiting + len(records) > most:
            raise Overloaded(f"{self.waiting} records wait for Kafka; the limit is {most}", retry_after=1.0)
        if self._bytes > most_bytes:
            raise Overloaded(f"{self._bytes} bytes wait for Kafka; the limit is {most_bytes}", retry_after=1.0)
        size = sum([len(record.value) for record in records if record.value])
        self._bytes += size
        return self._loop.create_future(), partial(self._free, size)

    def _free(self, size: int) -> None:
        self._bytes -= size

    def _produce(self, record: Outgoing, report: Report) -> None:
        topic, value, key, headers, partition = record
        try:
            # By place, for arguments by name cost 0.2 µs: None is the other name of the report, 0 the present time.
            self._native.produce(
                topic, value, key, partition, report, None, 0, headers if type(headers) is list else list(headers)
            )
        except BufferError:
            report(KafkaError(KafkaError._PURGE_QUEUE), None)
        except KafkaException as error:
            report(error.args[0], None)

    def _serve(self) -> None:
        """Hear the reports that have come in, and come back soon for the others."""
        self._unheard = 0
        try:
            self._native.poll(0)
        except KafkaException as error:
            # Fatal, and told once: the client writes nothing any more. What waits is reported on, and so is what comes.
            log.error("producer.fatal", producer=self.name, error=str(error.args[0].str()))
        if self._timer is None and self.waiting and self._loop is not None:
            self._timer = self._loop.call_later(POLL_SECONDS, self._serve_again)

    def _serve_again(self) -> None:
        self._timer = None
        self._serve()

    def partitions(self, topic: str, timeout: float = 5.0) -> int:
        """How many partitions a topic has; 0 when there is no such topic. Blocks: call it in a thread."""
        try:
            found = self._native.list_topics(topic, timeout=timeout).topics[topic]
        except KafkaException as error:
            raise request_error(error) from error
        if found.error is not None and found.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Unavailable(f"Kafka does not describe {topic}: {found.error.str()}", retry_after=1.0)
        return len(found.partitions)

    def describe(self) -> Description:
        """The producer as data: how many records and bytes wait for Kafka."""
        counters = {"waiting": self.waiting, "limit": self._bounds.records, "bytes": self._bytes}
        return Description("Producer", self.name, counters=counters)
