# SPDX-License-Identifier: Apache-2.0
"""The Faust app: it hosts the agents, timers and windowed tables of the projector on the service's loop.

Faust's own transport to Kafka stays off: an agent on a channel that is fed batches folds 217,000 events/s, one behind the
transport 15,000. So do its web server, its folders and the changelog topics of its tables: what a table counts is counted again
from the topics themselves. Faust acknowledges and drops the event at which an agent raises; here the batch stays
unacknowledged and the service comes down.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from functools import wraps
from types import TracebackType
from typing import Any, Self

import faust
import structlog
from faust.app.base import BootStrategy

from nerv_projector.lanes import Handover, Send

log = structlog.get_logger(__name__)

CLEAN_SECONDS = 1.0  # how often windows that are over are let go


class _Table(faust.Table):
    """In memory alone, without a changelog topic."""

    async def on_start(self) -> None:
        """Have the memory, and declare no topic."""
        await self.add_runtime_dependency(self.data)

    def on_key_set(self, key: Any, value: Any) -> None:
        """Remember when its window ends."""
        self._maybe_set_key_ttl(key, 0)

    def on_key_del(self, key: Any) -> None:
        """Forget that."""
        self._maybe_del_key_ttl(key, 0)


class _Boot(BootStrategy):
    enable_kafka = False
    enable_web = False
    enable_sensors = False

    def tables(self) -> Iterable[Any]:
        """Those that were declared; Faust's manager of tables would ask for a consumer."""
        return list(self.app.windows)


class _App(faust.App):
    BootStrategy = _Boot
    crashed: asyncio.Future[None] | None = None

    def __init__(self, *told: Any, **more: Any) -> None:
        super().__init__(*told, **more)
        self.windows: list[_Table] = []

    async def on_first_start(self) -> None:
        """Make no folders: tables are in memory."""

    async def _wait_for_table_recovery_completed(self) -> bool:
        return False  # there are no tables to recover, and the app has not been stopped

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        log.error("agent.failed", agent=agent.name, error=str(exc), exc_info=exc)
        if self.crashed is not None and not self.crashed.done():
            self.crashed.set_exception(exc)


class Windows:
    """Counts by key and second, in a windowed table that forgets them after a while."""

    def __init__(self, table: _Table, expires: float) -> None:
        self._table = table
        self._windows = table.tumbling(1.0, expires=expires)

    def add(self, second: int, counts: Mapping[Any, int]) -> None:
        """So many more of each key in this second."""
        windows = self._windows.relative_to(float(second))
        for key, count in counts.items():
            windows[key] += count

    def items(self) -> Iterator[tuple[Any, int, int]]:
        """Key, second, count."""
        for (key, (start, _)), count in list(self._table.data.items()):
            yield key, int(start), count

    def clear(self) -> None:
        """Begin anew."""
        self._table.clear()


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
            table_cleanup_interval=CLEAN_SECONDS,
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

    def windows(self, name: str, expires: float) -> Windows:
        """Declare a table of counts a second."""
        table = _Table(self._app, name=name, default=int, partitions=1)
        self._app.windows.append(table)
        return Windows(table, expires)

    def every(self, seconds: float, call: Callable[[], Awaitable[None]]) -> None:
        """Declare a timer. One that raises brings the service down, as an agent does: Faust would end, and nobody notice."""

        @wraps(call)
        async def work() -> None:
            try:
                await call()
            except Exception as error:
                log.error("timer.failed", exc_info=error)
                if not self.crashed.done():
                    self.crashed.set_exception(error)

        self._app.timer(interval=seconds)(work)

    async def __aenter__(self) -> Self:
        await self._app.start()
        self._app.flow_control.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._app.stop()
