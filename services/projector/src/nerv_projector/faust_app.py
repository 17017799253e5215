# SPDX-License-Identifier: Apache-2.0
"""The Faust app: it hosts the agents and timers of the projector on the service's loop.

Faust's own transport to Kafka stays off: an agent on a channel that is fed batches folds 217,000 events/s, one behind the
transport 15,000. So do its web server, its tables and its folders. Faust acknowledges and drops the event at which an agent
raises; here the batch stays unacknowledged and the service comes down.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import faust
import structlog
from faust.app.base import BootStrategy

from nerv_projector.lanes import Handover, Send

log = structlog.get_logger(__name__)


class _Boot(BootStrategy):
    enable_kafka = False
    enable_web = False
    enable_sensors = False


class _App(faust.App):
    BootStrategy = _Boot
    crashed: asyncio.Future[None] | None = None

    async def on_first_start(self) -> None:
        """Make no folders: there are no tables."""

    async def _wait_for_table_recovery_completed(self) -> bool:
        return False  # there are no tables to recover, and the app has not been stopped

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        log.error("agent.failed", agent=agent.name, error=str(exc), exc_info=exc)
        if self.crashed is not None and not self.crashed.done():
            self.crashed.set_exception(exc)


class FaustHost:
    """The app as a part of the service. Declare agents and timers, then use as `async with`."""

    def __init__(self, mesh: str) -> None:
        self.crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # The address is never used: neither consumer nor producer is started.
        self._app = _App(
            f"{mesh}-projector",
            broker="kafka://127.0.0.1:1",
            store="memory://",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            stream_wait_empty=False,
        )
        self._app.crashed = self.crashed

    def agent(self, name: str) -> Send:
        """Declare an agent; the channel to it holds one batch, so that a slow agent holds the consumer back."""
        channel = self._app.channel(maxsize=1)

        async def work(stream: AsyncIterable[Handover]) -> None:
            async for handover in stream:
                await handover.work()

        self._app.agent(channel, name=name)(work)

        async def send(handover: Handover) -> None:
            await channel.send(value=handover)

        return send

    def every(self, seconds: float, call: Callable[[], Awaitable[None]]) -> None:
        """Declare a timer."""
        self._app.timer(interval=seconds)(call)

    async def __aenter__(self) -> Self:
        await self._app.start()
        self._app.flow_control.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._app.stop()
