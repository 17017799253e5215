# SPDX-License-Identifier: Apache-2.0
"""A topic as server-sent events: read in batches, sent in batches, no faster than the reader reads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress

import orjson

from nerv.cloudevents import from_record, to_structured
from nerv.errors import Invalid, NervError, Overloaded
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.kafka.deadletters import where
from nerv_broker.settings import EdgeSettings
from nerv_broker.subscriptions.positions import Start, position

BATCH = 500  # events in one piece of the answer
HEARTBEAT = b": nothing new\n\n"


class Subscriptions:
    """Open event streams, bounded in number. Each has a consumer of its own, in no group, and commits nothing."""

    def __init__(
        self, kafka: KafkaSettings, client_id: str, settings: EdgeSettings, closing: Callable[[], "asyncio.Event"]
    ) -> None:
        self._kafka, self._client_id, self._settings = kafka, client_id, settings
        self._closing = closing
        self._open = 0

    async def open(self, topic: str, partitions: int, start: Start) -> AsyncIterator[bytes]:
        """Server-sent events from `start` on, for ever. Raises Overloaded, Invalid or Unavailable at once, not later."""
        if self._open >= self._settings.subscribers:
            raise Overloaded(
                f"{self._open} event streams are open, the most allowed (NERV_BROKER__SUBSCRIBERS)", retry_after=5.0
            )
        name = f"{self._client_id}-subscription"
        async with BatchConsumer(self._kafka, f"{name}-start", name) as consumer:
            offsets = await _offsets(consumer, topic, partitions, start)
        return self._send(topic, offsets)

    async def _send(self, topic: str, offsets: dict[int, int]) -> AsyncIterator[bytes]:
        self._open += 1
        name = f"{self._client_id}-subscription"
        assign = {(topic, partition): offset for partition, offset in offsets.items()}
        try:
            async with BatchConsumer(self._kafka, name, name, assign=assign, batch=BATCH) as consumer:
                # An event without data only tells the reader its position: from here it can go on, whatever happens.
                yield b"id: " + ",".join(f"{p}:{o}" for p, o in offsets.items()).encode() + b"\n\n"
                async for batch in self._batches(consumer):
                    yield _piece(batch, offsets) if batch else HEARTBEAT
        except NervError as error:
            yield b"event: error\ndata: " + orjson.dumps(error.problem()) + b"\n\n"
        finally:
            self._open -= 1

    async def _batches(self, consumer: BatchConsumer) -> AsyncIterator[list[Received]]:
        """Batches as they come, an empty one when a heartbeat is due; ends when the service closes."""
        batches = consumer.batches()
        closing = asyncio.ensure_future(self._closing().wait())
        coming: asyncio.Future[list[Received]] | None = None
        try:
            while not closing.done():
                coming = coming or asyncio.ensure_future(anext(batches))
                waited: set[asyncio.Future[object]] = {coming, closing}  # type: ignore[arg-type]  # futures of any result
                await asyncio.wait(
                    waited, timeout=self._settings.heartbeat_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if closing.done():
                    return
                if not coming.done():
                    yield []
                    continue
                batch, coming = coming.result(), None
                yield batch
        finally:
            closing.cancel()
            if coming is not None:
                coming.cancel()
                with suppress(asyncio.CancelledError, NervError):
                    await coming
            await batches.aclose()  # type: ignore[attr-defined]  # an async generator


async def _offsets(consumer: BatchConsumer, topic: str, partitions: int, start: Start) -> dict[int, int]:
    """The offset to start from in each partition that is read."""
    everything = [(topic, p) for p in range(partitions)]
    if start.instant is not None:
        found = await consumer.offsets_at(int(start.instant.timestamp() * 1000), everything)
        return {partition: offset for (_, partition), offset in found.items()}
    if start.offsets is None:
        edge = 0 if start.edge == "earliest" else 1
        return {p: (await consumer.bounds((topic, p)))[edge] for p in range(partitions)}
    for partition, offset in start.offsets.items():
        low, high = await consumer.bounds((topic, partition))
        if not low <= offset <= high:
            raise Invalid(
                f"{topic} has offsets {low} to {high} in partition {partition}, {offset} is outside; "
                "start from earliest to read what is left"
            )
    return dict(start.offsets)


def _piece(batch: Sequence[Received], offsets: dict[int, int]) -> bytes:
    """One piece of the answer for a batch; `offsets` moves on."""
    parts: list[bytes] = []
    for record in batch:
        partition = record.partition()
        offsets[partition] = record.offset() + 1
        parts.append(_event(record, offsets))
    return b"".join(parts)


def _event(record: Received, offsets: Mapping[int, int]) -> bytes:
    here = where(record)
    name = b"id: " + position(offsets, record.partition()).encode() + b"\n"
    try:
        event = from_record(record.headers(), record.value(), origin=here, timestamp_ms=record.timestamp()[1])
        return name + b"data: " + orjson.dumps(to_structured(event)) + b"\n\n"
    except (Invalid, orjson.JSONEncodeError) as error:
        # Passed on, not passed over: the reader must be able to see that there is something it cannot read.
        return name + b"event: malformed\ndata: " + orjson.dumps({"origin": here, "detail": str(error)}) + b"\n\n"
