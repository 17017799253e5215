# SPDX-License-Identifier: Apache-2.0
"""Run the bridges that the app declares, and say how far each is behind."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from nerv.app import App, BridgeSpec, End
from nerv.bus.bridge import Bridge
from nerv.bus.kafka_wire import KafkaWire
from nerv.bus.redis_wire import RedisWire
from nerv.bus.relay import Relay
from nerv.errors import NervError
from nerv.kafka import Producer
from nerv.protocols.wire import Wire
from nerv.redis import connect
from nerv.redis.connection import Redis
from nerv.types import Description, Event, Health
from nerv_broker.settings import BrokerSettings

LAG_SECONDS = 5.0  # for the lag of one bridge, in an answer that names them all


class Bridges:
    """The bridges of one replica; use as `async with`. Replicas share a topic's events, and take turns with a stream's."""

    def __init__(self, settings: BrokerSettings, app: App, producer: Producer) -> None:
        self._settings, self._app, self._producer = settings, app, producer
        self._redis: Redis | None = None
        self._running: dict[str, Bridge | Relay] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if any("bus" in (spec.source.kind, spec.target.kind) for spec in self._app.bridges.values()):
            await self._stack.enter_async_context(self._app.bus)
        for spec in self._app.bridges.values():
            made = self._running[spec.name] = self._made(spec)
            await self._stack.enter_async_context(made)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        if self._redis is not None:
            await self._redis.aclose()

    def describe(self) -> Description:
        """The bridges as data. One that waits does not stop the broker: the others go on, and so does the door."""
        parts = tuple(made.describe() for made in self._running.values())
        health = Health.OK if all(part.health is Health.OK for part in parts) else Health.DEGRADED
        return Description("Bridges", self._settings.instance, health=health, parts=parts)

    async def standing(self) -> list[dict[str, Any]]:
        """Each bridge with its ends, its lag (None where it cannot be told now), its counters and its health."""
        return list(await asyncio.gather(*(self._one(spec) for spec in self._app.bridges.values())))

    async def _one(self, spec: BridgeSpec) -> dict[str, Any]:
        made = self._running[spec.name]
        told, lag, error = made.describe(), None, made.error
        try:
            async with asyncio.timeout(LAG_SECONDS):
                lag = await made.lag()
        except (NervError, TimeoutError) as failure:
            error = error or str(failure) or "its lag was not told in time"
        return {
            "name": spec.name,
            "from": str(spec.source),
            "to": str(spec.target),
            "lag": lag,
            "health": told.health.value,
            "counters": dict(told.counters),
            "error": error,
        }

    def _made(self, spec: BridgeSpec) -> Bridge | Relay:
        if spec.source.kind == "bus":
            return Bridge(self._app.bus, self._wire(spec, spec.target), outward=spec.types or "*", name=spec.name)
        source = self._wire(spec, spec.source)
        if spec.target.kind == "bus":
            return Bridge(
                self._app.bus, source, inward=True, decode=_decoding(self._app), accepts=spec.types, name=spec.name
            )
        return Relay(source, self._wire(spec, spec.target), types=spec.types, name=spec.name)

    def _wire(self, spec: BridgeSpec, end: End) -> Wire:
        settings = self._settings
        if end.kind == "stream":
            self._redis = self._redis or connect(settings.redis, f"broker-{settings.instance}")
            return RedisWire(
                self._redis,
                f"{settings.mesh}:bridged:{end.name}",
                reader=settings.instance,
                name=str(end),
                ordered=True,
            )
        return KafkaWire(
            end.name,
            producer=self._producer,
            settings=settings.kafka,
            group=f"{settings.mesh}.bridge.{spec.name}",
            deadletters=settings.deadletters,
            client_id=f"broker-{settings.instance}-{spec.name}",
        )


def _decoding(app: App) -> Callable[[Event[bytes]], Event[Any]]:
    """Events of the app as its models; others as they are."""

    def decode(event: Event[Any]) -> Event[Any]:
        return replace(event, data=app.decode(event)) if app.knows(event.type) else event

    return decode
