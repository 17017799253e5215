# SPDX-License-Identifier: Apache-2.0
"""A bridge between a bus and a wire: what the one selects goes over, what the other brings is sent to the bus."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import orjson
import structlog
from pydantic import BaseModel

from nerv.boundary import cross
from nerv.bus.bus import EventBus
from nerv.bus.model import Lanes, Selector
from nerv.bus.subscription import Subscription
from nerv.cancelling import end
from nerv.errors import Misconfigured, NervError, Overloaded, Retry
from nerv.protocols import Observable
from nerv.protocols.wire import Arrived, Wire
from nerv.types import Description, Event, Health

log = structlog.get_logger(__name__)

BATCH = 500  # events that go over together
WAITING = 10_000  # events that may wait for the wire
TRY_SECONDS = 30.0  # how long a batch is tried again
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between two tries


def to_bytes(event: Event[Any]) -> Event[bytes]:
    """The event with its data as bytes: bytes as they are, models and plain values as JSON."""
    data = event.data
    if isinstance(data, bytes):
        return event
    return replace(event, data=data.model_dump_json().encode() if isinstance(data, BaseModel) else orjson.dumps(data))


class Bridge:
    """Joins a bus to a topic or a stream, one way or both; use as `async with`. At least once, in order for each key.

    Outward it takes any `nerv.protocols.Observable`, a state projector for one. `outward` chooses events, which go over in
    batches and are tried again for 30 s; then the failure is an event of the bus (`nerv.bus.subscriber-failed.v1`) that
    holds them. Inward, a batch is acknowledged once every subscriber has handled it; an event that the bus refuses for good
    is put aside with the cause: for events that come in it is a `nerv.protocols.Boundary`. What came in does not go out
    again by the same bridge.
    """

    def __init__(
        self,
        bus: Observable,
        wire: Wire,
        *,
        outward: Selector | None = None,
        inward: bool = False,
        encode: Callable[[Event[Any]], Event[bytes]] = to_bytes,
        decode: Callable[[Event[bytes]], Event[Any]] = lambda event: event,
        name: str = "bridge",
    ) -> None:
        """`encode` and `decode` change an event's data between what the bus has and bytes.

        Raises Misconfigured for `inward` where nothing can be sent to.
        """
        self.name = name
        if inward and not isinstance(bus, EventBus):
            raise Misconfigured(f"bridge {name} cannot bring events in to {bus.describe().name}; give it an EventBus")
        self._observed, self._wire = bus, wire
        self._inside = bus if isinstance(bus, EventBus) else None
        self._selector, self._inward = outward, inward
        self._encode, self._decode = encode, decode
        self._subscription: Subscription | None = None
        self._reading: asyncio.Task[None] | None = None
        self._present: set[str] = set()  # ids of the batch that came in and is being handled
        self._counters: Counter[str] = Counter()
        self._error: str | None = None

    async def __aenter__(self) -> Self:
        if self._selector is not None:
            lanes = Lanes(capacity=WAITING, batch=BATCH)
            self._subscription = self._observed.subscribe(
                self._selector, self._out, name=self.name, weak=False, lanes=lanes
            )
        if self._inward:
            self._reading = asyncio.create_task(self._in())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            await end(self._reading)
        if self._subscription is not None:
            if self._subscription.lanes is not None:
                await self._subscription.lanes.drain()
            self._subscription.cancel()

    def describe(self) -> Description:
        """The bridge as data. It is down when what reads the wire has ended."""
        down = self._reading is not None and self._reading.done()
        return Description(
            "Bridge",
            self.name,
            inputs=(str(self._selector),) if self._selector is not None else (),
            outputs=(self._inside.name,) if self._inward and self._inside is not None else (),
            counters=dict(self._counters),
            health=Health.DOWN if down else Health.DEGRADED if self._error else Health.OK,
            parts=(self._wire.describe(),),
        )

    async def validate(self, raw: Arrived) -> Event[Any]:
        """What came over the wire, as the bus has it. Raises what `decode` raises."""
        return self._decode(raw.event)

    async def process(self, valid: Event[Any]) -> None:
        """Send it to the bus, when there is room. Raises what a middleware raises."""
        if self._inside is None:
            raise Misconfigured(f"bridge {self.name} brings nothing in")
        while True:
            try:
                await self._inside.publish(valid)
            except Overloaded as error:
                await asyncio.sleep(error.retry_after or FIRST_PAUSE)
            else:
                return

    async def handle(self, raw: Arrived, error: Exception) -> None:
        """Put it aside with the cause. A middleware or the decoding says no, and would again: nothing behind it may wait."""
        self._counters["refused"] += 1
        await self._wire.refuse(raw, f"{type(error).__name__}: {error}")

    async def _out(self, events: Sequence[Event[Any]]) -> None:
        leaving = [self._encode(event) for event in events if event.id not in self._present]
        if not leaving:
            return
        deadline, pause = time.monotonic() + TRY_SECONDS, FIRST_PAUSE
        while True:
            try:
                await self._wire.put(leaving)
            except NervError as error:
                self._error = str(error)
                if error.retry is Retry.NEVER or time.monotonic() + pause > deadline:
                    raise
            else:
                self._counters["out"] += len(leaving)
                self._error = None
                return
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _in(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async for batch in self._wire.take():
                    await self._bring(batch)
                    pause, self._error = FIRST_PAUSE, None
            except NervError as error:
                if error.retry is Retry.NEVER:
                    self._error = str(error)
                    log.error("bridge.in", bridge=self.name, error=str(error))
                    raise
                self._error = str(error)
                log.warning("bridge.in", bridge=self.name, error=str(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _bring(self, batch: Sequence[Arrived]) -> None:
        self._present = {arrived.event.id for arrived in batch}
        try:
            for arrived in batch:
                await cross(self, arrived)
            await self._observed.drain()
        finally:
            self._present = set()
        self._counters["in"] += len(batch)
