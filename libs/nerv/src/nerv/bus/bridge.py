# SPDX-License-Identifier: Apache-2.0
"""A bridge between a bus and a wire: what the one selects goes over, what the other brings is sent to the bus."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import BaseModel

from nerv.boundary import cross
from nerv.bus.bus import EventBus
from nerv.bus.crossing import FIRST_PAUSE, Crossing
from nerv.bus.model import Lanes, Selector, selects
from nerv.bus.subscription import Subscription
from nerv.bus.via import carried
from nerv.errors import Misconfigured, Overloaded
from nerv.protocols import Observable
from nerv.protocols.wire import Arrived, Wire
from nerv.telemetry.traffic import saw
from nerv.types import Description, Event, Health

BATCH = 500  # events that go over together
WAITING = 10_000  # events that may wait for the wire
TRY_SECONDS = 30.0  # how long a batch is tried again


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
    again by the same bridge, and nothing goes to a place where it has been (`nerv.bus.via`).
    """

    def __init__(
        self,
        bus: Observable,
        wire: Wire,
        *,
        outward: Selector | None = None,
        inward: bool = False,
        accepts: Selector | None = None,
        encode: Callable[[Event[Any]], Event[bytes]] = to_bytes,
        decode: Callable[[Event[bytes]], Event[Any]] = lambda event: event,
        name: str = "bridge",
    ) -> None:
        """`accepts` chooses what comes in (None: all). `encode` and `decode` change an event's data between what the bus has
        and bytes.

        Raises Misconfigured for `inward` where nothing can be sent to.
        """
        self.name = name
        if inward and not isinstance(bus, EventBus):
            raise Misconfigured(f"bridge {name} cannot bring events in to {bus.describe().name}; give it an EventBus")
        self._observed, self._wire = bus, wire
        self._inside = bus if isinstance(bus, EventBus) else None
        self._selector, self._inward, self._accepts = outward, inward, accepts
        self._encode, self._decode = encode, decode
        self._subscription: Subscription | None = None
        self._place = f"bus:{bus.describe().name}"
        self._crossing = Crossing(name)
        self._present: set[str] = set()  # ids of the batch that came in and is being handled
        self._counters: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        if self._selector is not None:
            lanes = Lanes(capacity=WAITING, batch=BATCH)
            self._subscription = self._observed.subscribe(
                self._selector, self._out, name=self.name, weak=False, lanes=lanes
            )
        if self._inward:
            self._crossing.start(self._wire, self._bring)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._crossing.stop()
        if self._subscription is not None:
            if self._subscription.lanes is not None:
                await self._subscription.lanes.drain()
            self._subscription.cancel()

    async def lag(self) -> int:
        """Events that wait to go over, outward in its queue and inward on the wire. Raises Unavailable."""
        lanes = None if self._subscription is None else self._subscription.lanes
        waiting = 0 if lanes is None else lanes.queued
        return waiting + (await self._wire.lag() if self._inward else 0)

    @property
    def error(self) -> str | None:
        """What it waits for, or why it has ended."""
        return self._crossing.error

    def describe(self) -> Description:
        """The bridge as data. It is down when what reads the wire has ended."""
        return Description(
            "Bridge",
            self.name,
            inputs=(str(self._selector),) if self._selector is not None else (),
            outputs=(self._inside.name,) if self._inward and self._inside is not None else (),
            counters=dict(self._counters),
            health=Health.DOWN if self._crossing.down else Health.DEGRADED if self.error else Health.OK,
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
        leaving = [self._encode(left) for event in events if (left := self._leaving(event)) is not None]
        if leaving:
            await self._crossing.put(self._wire, leaving, seconds=TRY_SECONDS)
            self._counters["out"] += len(leaving)
            saw(self._place, f"bridge:{self.name}", len(leaving))

    def _leaving(self, event: Event[Any]) -> Event[Any] | None:
        return None if event.id in self._present else carried(event, self._place, self._wire.name)

    async def _bring(self, batch: Sequence[Arrived]) -> None:
        self._present = {arrived.event.id for arrived in batch}
        try:
            for arrived in batch:
                event = carried(arrived.event, self._wire.name, self._place)
                if event is not None and selects(self._accepts, event):
                    await cross(self, replace(arrived, event=event))
            await self._observed.drain()
        finally:
            self._present = set()
        self._counters["in"] += len(batch)
        saw(f"bridge:{self.name}", self._place, len(batch))
