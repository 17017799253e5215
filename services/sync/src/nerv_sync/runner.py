# SPDX-License-Identifier: Apache-2.0
"""One run: a synchronizer between a source and the streams of its category. Nothing is changed before the whole plan stands."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from nerv.app import App
from nerv.errors import SchemaMismatch
from nerv.protocols import History
from nerv.sync.errors import LoadRefused
from nerv.sync.loading import Check
from nerv.sync.plan import Plan
from nerv.sync.schema import WholeRow
from nerv.sync.sides import HistorySide, SourceSide
from nerv.sync.synchronizer import DiffSynchronizer
from nerv.sync.tally import Tally
from nerv.telemetry import span
from nerv_sync.model import Order
from nerv_sync.settings import RunSettings
from nerv_sync.sources import Sources
from nerv_sync.threads import Threads

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, and the synchronizer that has made it and can apply it."""

    plan: Plan
    synchronizer: DiffSynchronizer
    streams: HistorySide


class Runner:
    """Makes plans and applies them. `threads` bounds how many sources are read at once."""

    def __init__(self, app: App, sources: Sources, history: History, threads: Threads, settings: RunSettings) -> None:
        self._app = app
        self._sources = sources
        self._history = history
        self._threads = threads
        self._settings = settings

    async def plan(self, order: Order) -> Prepared:
        """What the source asks for. Raises LoadRefused, SchemaMismatch or TooLarge; changes nothing."""
        source, bound = self._sources.make(order.source), self._settings.rows
        streams = HistorySide(self._history, source.category, writer=f"nerv:sync:{order.source}", limit=bound)
        synchronizer = DiffSynchronizer(
            order.source,
            SourceSide(source, limit=bound, run=self._load),
            streams,
            WholeRow(source.category, (source.key,)),
            delete_guard=self._settings.delete_guard,
        )
        with span("sync plan"):
            plan = await synchronizer.plan()
            await self._threads.run(lambda check: self._check_schemas(plan, streams, check))
        return Prepared(plan, synchronizer, streams)

    async def apply(self, prepared: Prepared, tally: Tally, *, confirm_deletes: bool = False) -> None:
        """Append the steps batch by batch, each at its exact version; `tally` counts as they are answered.

        A step that another writer was faster than is refused, and not tried again. It ends early at an unknown outcome. Raises
        DeletesUnconfirmed before the first step, and Unavailable when history cannot be written: what is done is done, and
        the run can go on under its id.
        """
        with span("sync apply", attributes={"nerv.sync.changes": len(prepared.plan.steps)}):
            await prepared.synchronizer.apply(prepared.plan, confirm_deletes=confirm_deletes, tally=tally)

    async def _load(self, work: Callable[[Check], T]) -> T:
        try:
            async with asyncio.timeout(self._settings.load_seconds):
                return await self._threads.run(work)
        except TimeoutError:
            raise LoadRefused(
                f"the source was not read within {self._settings.load_seconds:.0f} s (NERV_SYNC__LOAD_SECONDS)"
            ) from None

    def _check_schemas(self, plan: Plan, streams: HistorySide, check: Check) -> None:
        """Hold every event against the app's model, where it declares one, before the first is appended."""
        for step in plan.steps:
            check()
            request = streams.request(step)
            for event in request.events:
                if event.type not in self._app.events:
                    continue
                try:
                    self._app.decode(event)
                except SchemaMismatch as error:
                    raise SchemaMismatch(
                        f"{request.stream}: {error.detail}; nothing was changed", errors=error.errors
                    ) from None
