# SPDX-License-Identifier: Apache-2.0
"""Brings the spans of this replica into the store, twice a second. While Redis is away they are dropped and counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog

from nerv.cancelling import end
from nerv.errors import NervError
from nerv.redis import RedisSettings, connect
from nerv.telemetry import names as n
from nerv.telemetry.instruments import observe
from nerv.telemetry.setup import TRACES, allowed
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.telemetry.spans.document import Kept, kept
from nerv.telemetry.spans.store import SpanStore
from nerv.types import Description, Health

if TYPE_CHECKING:
    from nerv.telemetry.spans.recent import Recent

log = structlog.get_logger(__name__)

EVERY_SECONDS = 0.5
BATCH = 200  # spans a script: Redis answers nobody while one runs
LAST_SECONDS = 2.0  # for what is left when the service ends


def recent_of(bounds: SpanSettings) -> "Recent | None":
    """Where this process's spans wait; None where none are kept."""
    if not bounds.count or not allowed(TRACES):
        return None
    from nerv.telemetry.spans.recent import Recent  # with the SDK, which a process without telemetry does not load

    return Recent(bounds.waiting)


@asynccontextmanager
async def keeping(
    recent: "Recent", redis: RedisSettings, mesh: str, bounds: SpanSettings, service: str
) -> AsyncIterator[None]:
    """Keep this process's spans while the block runs."""
    async with aclosing(connect(redis, f"{service}-spans")) as client, Keeper(recent, SpanStore(client, mesh, bounds)):
        yield


class Keeper:
    """Use as `async with`; what has ended before the block's end is still written, if Redis takes it at once."""

    def __init__(self, recent: "Recent", store: SpanStore) -> None:
        self._recent, self._store = recent, store
        self._kept = self._refused = 0
        self._away = False
        self._stopping = asyncio.Event()
        observe(n.SPANS_KEPT, lambda: [(self._kept, {})])
        observe(n.SPANS_DROPPED, lambda: [(self.dropped, {})])

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="spans")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        _, late = await asyncio.wait({self._task}, timeout=LAST_SECONDS)
        if late:
            log.warning("spans.left", detail="Redis took too long; the last spans of this replica are not kept")
            await end(self._task)

    def describe(self) -> Description:
        """The keeper as data: how many spans are kept, and how many are not. It is degraded while Redis is away."""
        health = Health.DEGRADED if self._away else Health.OK
        return Description("Keeper", "spans", counters={"kept": self._kept, "dropped": self.dropped}, health=health)

    @property
    def dropped(self) -> int:
        """Spans that are not kept."""
        return self._recent.dropped + self._refused

    async def flush(self) -> None:
        """Write what waits. What the store does not take is dropped."""
        while spans := self._recent.take(BATCH):
            await self._keep(list(kept(spans)))

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), EVERY_SECONDS)
            try:
                await self.flush()
            except Exception:  # looking at the work never ends the work
                log.exception("spans.broken")

    async def _keep(self, spans: list[Kept]) -> None:
        try:
            refused = await self._store.keep(spans)
        except NervError as error:
            refused = len(spans)
            if not self._away:
                log.warning("spans.dropped", error=str(error), detail="said once; they are kept again as Redis is back")
            self._away = True
        else:
            self._away = False
        self._refused += refused
        self._kept += len(spans) - refused
