# SPDX-License-Identifier: Apache-2.0
"""Signs of life of a replica, every few seconds, as long as it lives. The service never waits for them."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from nerv.cancelling import end
from nerv.errors import NervError
from nerv.service.alive import Alive
from nerv.service.describe import Replica
from nerv.types import Description, Health

log = structlog.get_logger(__name__)

BEAT_SECONDS = 2.0
HURRY_SECONDS = 0.25  # while it is not ready: that it has become so is worth knowing soon
LAST_SECONDS = 0.5  # to take the last sign back at the end: of a Redis that hangs the service does not die later


class Heartbeat:
    """Says what `replica` says. Use as `async with`."""

    def __init__(self, replica: Replica, alive: Alive, instance: str) -> None:
        self._replica, self._alive, self._instance = replica, alive, instance
        self._beats = 0
        self._fault: str | None = None
        self._soon = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._beating = asyncio.create_task(self._beat(), name="heartbeat")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beating is not None:
            await end(self._beating, LAST_SECONDS)
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self._alive.gone(self._replica.service, self._instance)
        except (NervError, TimeoutError) as late:  # it expires soon
            log.info("heartbeat.left", cause=str(late))

    def soon(self) -> None:
        """Something has changed that others should know at once."""
        self._soon.set()

    async def _beat(self) -> None:
        while True:
            self._soon.clear()
            try:
                self._replica.look()
                await self._alive.say(self._replica.service, self._instance, self._replica.sign())
            except NervError as error:
                self._failed(error)
            except Exception as error:  # whatever is wrong with what is said, it is not worth the service
                self._failed(error, exc_info=error)
            else:
                self._beats += 1
                self._fault = None
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS if self._replica.is_ready else HURRY_SECONDS):
                    await self._soon.wait()

    def _failed(self, error: Exception, exc_info: Exception | None = None) -> None:
        if self._fault is None:  # said once, until it goes again
            log.warning("heartbeat", cause=str(error), exc_info=exc_info)
        self._fault = str(error)

    def describe(self) -> Description:
        """The heartbeat as data. While Redis is away it is degraded: the service goes on, unseen."""
        health = Health.OK if self._fault is None else Health.DEGRADED
        return Description("Heartbeat", self._instance, counters={"beats": self._beats}, health=health)
