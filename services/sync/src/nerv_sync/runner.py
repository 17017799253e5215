# SPDX-License-Identifier: Apache-2.0
"""One run: load, compare, plan, apply. Nothing is changed before the whole plan stands."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from nerv.app import App
from nerv.errors import NervError, SchemaMismatch, Unavailable
from nerv.protocols import AppendOutcome, AppendRequest, History
from nerv.sync.errors import LoadRefused
from nerv.sync.loading import Check, load_whole
from nerv.telemetry import carrier, span
from nerv_sync.model import Order, Plan, Step, Tally, batches, make_plan
from nerv_sync.settings import RunSettings
from nerv_sync.sources import Sources
from nerv_sync.target import read_current
from nerv_sync.threads import Threads

T = TypeVar("T")


class Runner:
    """Makes plans and applies them. `threads` bounds how many sources are read and compared at once."""

    def __init__(self, app: App, sources: Sources, history: History, threads: Threads, settings: RunSettings) -> None:
        self._app = app
        self._sources = sources
        self._history = history
        self._threads = threads
        self._settings = settings

    async def plan(self, order: Order) -> Plan:
        """What the source asks for. Raises LoadRefused, SchemaMismatch or TooLarge; changes nothing."""
        # diffsync takes a while to import, which a service that has just started need not wait for.
        from nerv.sync.adapters import difference

        def compare(check: Check) -> Plan:
            changes = difference(loaded.rows, entities, check)
            plan = make_plan(order.source, source.category, changes, entities, loaded.instant)
            self._check_schemas(plan, check)
            return plan

        source = self._sources.make(order.source)
        with span("sync load"):
            loaded = await self._load(lambda check: load_whole(source, self._settings.rows, check))
        with span("sync read"):
            entities = await read_current(self._history, source.category, self._settings.rows)
        with span("sync compare"):
            return await self._threads.run(compare)

    async def apply(self, plan: Plan, tally: Tally) -> None:
        """Append the steps batch by batch, each at its exact version; `tally` counts as they are answered.

        A step that another writer was faster than is refused, and not tried again. It ends early at an unknown outcome. Raises
        Unavailable when history cannot be written: what is done is done, and the run can go on under its id.
        """
        tried = 0
        for steps in batches(plan.steps):
            with span("sync apply", attributes={"nerv.sync.changes": len(steps)}):
                tally.add(steps, await self._append(steps))
            tried += len(steps)
            if tally.unknown:
                break
        tally.untried = len(plan.steps) - tried

    async def _append(self, steps: Sequence[Step]) -> Sequence[AppendOutcome]:
        try:
            return await self._history.append(_traced(steps))
        except Unavailable:
            raise
        except NervError as error:
            # Refused as a whole, or unknown as a whole: so is each step.
            return [error] * len(steps)

    async def _load(self, work: Callable[[Check], T]) -> T:
        try:
            async with asyncio.timeout(self._settings.load_seconds):
                return await self._threads.run(work)
        except TimeoutError:
            raise LoadRefused(
                f"the source was not read within {self._settings.load_seconds:.0f} s (NERV_SYNC__LOAD_SECONDS)"
            ) from None

    def _check_schemas(self, plan: Plan, check: Check) -> None:
        """Hold every event against the app's model, where it declares one, before the first is appended."""
        for step in plan.steps:
            check()
            for event in step.request.events:
                if not self._app.knows(event.type):
                    continue
                try:
                    self._app.decode(event)
                except SchemaMismatch as error:
                    raise SchemaMismatch(
                        f"{step.request.stream}: {error.detail}; nothing was changed", errors=error.errors
                    ) from None


def _traced(steps: Sequence[Step]) -> list[AppendRequest]:
    """The requests of the steps, their events marked with the trace of this run."""
    context = carrier()
    if context.traceparent is None:
        return [step.request for step in steps]
    return [
        replace(
            step.request,
            events=[
                replace(event, traceparent=context.traceparent, tracestate=context.tracestate)
                for event in step.request.events
            ],
        )
        for step in steps
    ]
