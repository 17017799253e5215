# SPDX-License-Identifier: Apache-2.0
"""A topic as server-sent events: read in batches, sent in batches, no faster than the reader reads."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import orjson

from nerv.errors import NervError, Overloaded
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv_broker.middleware import Chains
from nerv_broker.settings import EdgeSettings
from nerv_broker.subscriptions.asked import Asked
from nerv_broker.subscriptions.choosing import chooser
from nerv_broker.subscriptions.pacing import Pacer
from nerv_broker.subscriptions.reading import Reading, resolve

BATCH = 500  # events in one piece of the answer
HEARTBEAT = b": nothing new\n\n"
LOOK_SECONDS = 0.1  # how often a bounded reading looks whether the rest of a partition holds no more events

Pieces = AsyncIterator[bytes]


class Subscriptions:
    """Open event streams, bounded in number. Each has a consumer of its own, in no group, and commits nothing."""

    def __init__(
        self,
        kafka: KafkaSettings,
        client_id: str,
        settings: EdgeSettings,
        closing: Callable[[], "asyncio.Event"],
        chains: Chains,
    ) -> None:
        self._kafka, self._client_id, self._settings = kafka, client_id, settings
        self._closing, self._chains = closing, chains
        self._open = 0

    async def open(self, topic: str, partitions: int, asked: Asked) -> Pieces:
        """Server-sent events as they are asked for. Raises Overloaded, Invalid or Unavailable at once, not later."""
        if self._open >= self._settings.subscribers:
            raise Overloaded(
                f"{self._open} event streams are open, the most allowed (NERV_BROKER__SUBSCRIBERS)", retry_after=5.0
            )
        chooses = chooser(asked.wanted)
        name = f"{self._client_id}-subscription"
        async with BatchConsumer(self._kafka, f"{name}-start", name) as consumer:
            start = await resolve(consumer, topic, partitions, asked.start)
            until = None if asked.until is None else await resolve(consumer, topic, partitions, asked.until)
        if until is not None:
            start = {p: offset for p, offset in start.items() if p in until}
        reading = Reading(topic, start, until, chooses, Pacer(asked.pace, time.monotonic()), self._chains)
        return self._send(reading)

    async def _send(self, reading: Reading) -> Pieces:
        self._open += 1
        name = f"{self._client_id}-subscription"
        assign = {(reading.topic, partition): offset for partition, offset in reading.offsets.items()}
        try:
            async with BatchConsumer(self._kafka, name, name, assign=assign, batch=BATCH, ends=True) as consumer:
                yield reading.begin()
                async for batch in self._batches(consumer, reading):
                    if not batch:
                        yield HEARTBEAT
                    async for piece in self._paced(reading, batch):
                        yield piece
                if reading.ended(consumer.ended):
                    yield reading.end()
        except NervError as error:
            yield b"event: error\ndata: " + orjson.dumps(error.problem()) + b"\n\n"
        finally:
            self._open -= 1

    async def _paced(self, reading: Reading, batch: Sequence[Received]) -> Pieces:
        """The pieces of a batch: one, or as many as its pace makes of it."""
        parts: list[bytes] = []
        for record in batch:
            wanted, event = reading.take(record)
            if not wanted:
                continue
            wait = reading.pacer.wait(event.time, time.monotonic()) if event is not None else 0.0
            if wait and parts:
                yield b"".join(parts)
                parts = []
            while wait > 0:
                beat = min(wait, self._settings.heartbeat_seconds)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing().wait(), beat)
                if self._closing().is_set():
                    return
                wait -= beat
                if wait > 0:
                    yield HEARTBEAT
            parts.append(reading.piece(record, event))
        if (rest := reading.passed()) is not None:
            parts.append(rest)
        if parts:
            yield b"".join(parts)

    async def _batches(self, consumer: BatchConsumer, reading: Reading) -> AsyncIterator[list[Received]]:
        """Batches as they come, an empty one when a heartbeat is due; ends with the range, or when the service closes."""
        batches = consumer.batches()
        closing = asyncio.ensure_future(self._closing().wait())
        coming: asyncio.Future[list[Received]] | None = None
        beat = time.monotonic() + self._settings.heartbeat_seconds
        try:
            while not closing.done() and not reading.ended(consumer.ended):
                coming = coming or asyncio.ensure_future(anext(batches))
                waited: set[asyncio.Future[object]] = {coming, closing}  # type: ignore[arg-type]  # futures of any result
                timeout = LOOK_SECONDS if reading.until is not None else max(beat - time.monotonic(), 0.0)
                await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if closing.done():
                    return
                if coming.done():
                    batch, coming = coming.result(), None
                    yield batch
                elif time.monotonic() >= beat:
                    yield []
                else:
                    continue
                beat = time.monotonic() + self._settings.heartbeat_seconds
        finally:
            closing.cancel()
            if coming is not None:
                coming.cancel()
                with suppress(asyncio.CancelledError, NervError):
                    await coming
            await batches.aclose()  # type: ignore[attr-defined]  # an async generator
