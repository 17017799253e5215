# SPDX-License-Identifier: Apache-2.0
"""A topic as server-sent events: read in batches, sent in batches, no faster than the reader reads."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import orjson

from nerv.errors import NervError, Overloaded
from nerv.kafka import BatchConsumer, Received
from nerv.kafka.survey import Survey
from nerv.types import Description
from nerv_broker.middleware import Chains
from nerv_broker.settings import BrokerSettings
from nerv_broker.subscriptions.asked import Asked, Form
from nerv_broker.subscriptions.choosing import Wanted, chooser
from nerv_broker.subscriptions.live import Live, Lives
from nerv_broker.subscriptions.pacing import Pace, Pacer
from nerv_broker.subscriptions.reading import Reading, resolve
from nerv_broker.subscriptions.widths import Widths

BATCH = 500  # events in one piece of the answer
FETCHED_KIB = 8 * 1024  # of a topic that wait for one reader who reads alone
HEARTBEAT = b": nothing new\n\n"
WIDTH_SECONDS = 5.0  # how often it looks whether topics have been given more partitions
LOOK_SECONDS = 0.1  # how often a reading without news looks whether it is at its end, or has come up with the others

Pieces = AsyncIterator[bytes]


class Subscriptions:
    """Open event streams, bounded in number. Those that follow a topic share one reading of it; one that starts earlier, or has
    fallen behind, has a consumer of its own, in no group, until it has come up. Nothing is committed. Use as `async with`.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        closing: Callable[[], "asyncio.Event"],
        chains: Chains,
        survey: Survey,
    ) -> None:
        self._kafka, self._name, self._settings = settings.kafka, f"{client_id}-subscription", settings.broker
        self._closing, self._chains, self._survey = closing, chains, survey
        self._lives = Lives(settings.kafka, self._name, survey, chains, settings.broker.heartbeat_seconds)
        self._widths = Widths(survey)
        self._open = self._alone = self._behind = 0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._close()), asyncio.create_task(self._widen())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._lives.close()

    def describe(self) -> Description:
        """The subscriptions as data: how many are open, how many of them read for themselves, how often one fell behind."""
        counters = {"open": self._open, "alone": self._alone, "fell_behind": self._behind}
        return Description("Subscriptions", self._name, counters=counters)

    async def open(self, topic: str, partitions: int, asked: Asked) -> Pieces:
        """Server-sent events as they are asked for. Raises Overloaded, Invalid or Unavailable at once, not later."""
        if self._open >= self._settings.subscribers:
            raise Overloaded(
                f"{self._open} event streams are open, the most allowed (NERV_BROKER__SUBSCRIBERS)", retry_after=5.0
            )
        chooses = chooser(asked.wanted, self._chains.as_json) if asked.wanted != Wanted() else None
        pacer = Pacer(asked.pace, time.monotonic()) if asked.pace != Pace() else None
        self._widths.note({topic: partitions})  # before others are sent from a reading of fewer to one of all
        if asked.until is None and pacer is None and asked.form is Form.EVENT:
            await self._lives.start(topic, partitions)  # before its end is asked for, so that there is no gap between
        start = await resolve(self._survey, topic, partitions, asked.start)
        until = None if asked.until is None else await resolve(self._survey, topic, partitions, asked.until, until=True)
        if until is not None:
            start = {p: offset for p, offset in start.items() if p in until}
        whole = until is None and (asked.start.offsets is None or asked.start.others)
        reading = Reading(topic, start, until, chooses, pacer, self._chains, asked.form, whole=whole)
        return self._send(reading, partitions)

    async def _send(self, reading: Reading, partitions: int) -> Pieces:
        self._open += 1
        try:
            with self._widths.reading(reading.topic, partitions):
                yield reading.begin()
                async for piece in self._following(reading) if reading.follows else self._ranging(reading):
                    yield piece
        except NervError as error:
            yield b"event: error\ndata: " + orjson.dumps(error.problem()) + b"\n\n"
        finally:
            self._open -= 1

    async def _ranging(self, reading: Reading) -> Pieces:
        while not (reading.ended() or self._closing().is_set()):
            reading.widen(self._widths.of(reading.topic))
            async for piece in self._reading(reading, reading.ended):
                yield piece
        if reading.ended():
            yield reading.end()

    async def _following(self, reading: Reading) -> Pieces:
        """With the others, or alone until it has come up with them, in turns. Who reads some partitions alone never comes up with
        those who read all.
        """

        def level() -> bool:
            live = self._lives.get(reading.topic)
            return reading.whole and (live is None or live.ring.entry(reading.offsets) is not None)

        while not self._closing().is_set():
            reading.widen(self._widths.of(reading.topic))
            live = await self._lives.start(reading.topic, len(reading.offsets)) if reading.whole else None
            number = None if live is None else live.ring.entry(reading.offsets)
            if live is not None and number is not None:
                async for piece in self._sharing(live, number, reading):
                    yield piece
            reading.alone()
            reading.widen(self._widths.of(reading.topic))
            if not level():
                self._behind += number is not None
                async for piece in self._reading(reading, level):
                    yield piece

    async def _sharing(self, live: Live, number: int, reading: Reading) -> Pieces:
        """What is read for all, until that is too fast, or ends."""
        while (rounds := await live.rounds(number)) is not None and not self._closing().is_set():
            number += len(rounds)
            if piece := reading.follow(rounds) if rounds else HEARTBEAT:
                yield piece
            if not rounds and live.over:
                return

    async def _reading(self, reading: Reading, done: Callable[[], bool]) -> Pieces:
        """What a consumer of its own reads, until it is done, or its topic has more partitions. Raises Overloaded where there are
        too many of them.
        """
        if self._alone >= self._settings.readings:
            raise Overloaded(
                f"{self._alone} event streams read for themselves, the most allowed (NERV_BROKER__READINGS); "
                "go on from the last id",
                retry_after=5.0,
            )
        self._alone += 1
        assign = {(reading.topic, partition): offset for partition, offset in reading.offsets.items()}
        try:
            async with BatchConsumer(
                self._kafka, self._name, self._name, assign=assign, batch=BATCH, ends=True, fetched_kib=FETCHED_KIB
            ) as consumer:
                async for batch in self._batches(consumer, reading, lambda: done() or self._is_wider(reading)):
                    if not batch:
                        yield HEARTBEAT
                    async for piece in self._paced(reading, batch):
                        yield piece
        finally:
            self._alone -= 1

    def _is_wider(self, reading: Reading) -> bool:
        return reading.whole and self._widths.of(reading.topic) > len(reading.offsets)

    async def _paced(self, reading: Reading, batch: Sequence[Received]) -> Pieces:
        """The pieces of a batch: one, or as many as its pace makes of it."""
        parts: list[bytes] = []
        for record in batch:
            found = reading.take(record)
            if found is None:
                continue
            if reading.pacer is not None and found.event is not None:
                wait = reading.pacer.wait(found.event.time, time.monotonic())
                if wait and parts:
                    yield b"".join(parts)
                    parts = []
                async for beat in self._waited(wait):
                    yield beat
                if self._closing().is_set():
                    return
            parts.append(reading.piece(found))
        if (rest := reading.passed()) is not None:
            parts.append(rest)
        if parts:
            yield b"".join(parts)

    async def _waited(self, wait: float) -> Pieces:
        """The heartbeats of a wait, which ends when the service closes."""
        while wait > 0 and not self._closing().is_set():
            beat = min(wait, self._settings.heartbeat_seconds)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing().wait(), beat)
            wait -= beat
            if wait > 0:
                yield HEARTBEAT

    async def _batches(
        self, consumer: BatchConsumer, reading: Reading, done: Callable[[], bool]
    ) -> AsyncIterator[list[Received]]:
        """Batches as they come, an empty one when a heartbeat is due; ends when it is done, or when the service closes."""
        batches = consumer.batches()
        closing = asyncio.ensure_future(self._closing().wait())
        coming: asyncio.Future[list[Received]] | None = None
        beat = time.monotonic() + self._settings.heartbeat_seconds
        try:
            while not closing.done():
                reading.reached(consumer.ended)
                if done():
                    return
                coming = coming or asyncio.ensure_future(anext(batches))
                waited: set[asyncio.Future[object]] = {coming, closing}  # type: ignore[arg-type]  # futures of any result
                await asyncio.wait(waited, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
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

    async def _widen(self) -> None:
        """What is added to a topic is read by those who read it now."""
        while True:
            await asyncio.sleep(WIDTH_SECONDS)
            with suppress(NervError):  # then the next look tells
                for topic, partitions in (await self._widths.look()).items():
                    await self._lives.widen(topic, partitions)

    async def _close(self) -> None:
        """When the service closes, those who share a reading are let go."""
        await self._closing().wait()
        await self._lives.close()
