# SPDX-License-Identifier: Apache-2.0
"""Runs that nobody orders: by the clock, and after events of history. Each replica orders them; under one id they are one run."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import structlog

from nerv.app.ticks import Ticks
from nerv.errors import NervError, Retry
from nerv.protocols import Clock, ReadQuery, Subscribable
from nerv.sync.errors import RunUnderWay
from nerv.sync.pair import Pair
from nerv.sync.tree import digest
from nerv.types import new_event_id
from nerv_sync.model import Order
from nerv_sync.pairs import Pairs
from nerv_sync.runs import Runs

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 1.0  # between tries, and for events that come together to be one run
LONGEST_SLEEP = 60.0  # until the clock is looked at again: it may have been set


class Triggers:
    """Orders runs of the pairs that say when. What would have been due while no replica lived is not made up for, but a pair
    that follows events is run once when a replica starts.
    """

    def __init__(self, pairs: Pairs, runs: Runs, history: Subscribable, clock: Clock) -> None:
        self._pairs = pairs
        self._runs = runs
        self._history = history
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for name in self._pairs.names():
            pair = self._pairs.make(name)
            self._tasks += [asyncio.create_task(work, name=f"trigger of {name}") for work in self._of(name, pair)]
        for task in self._tasks:
            task.add_done_callback(_tell)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _of(self, name: str, pair: Pair) -> list[Coroutine[Any, Any, None]]:
        found: list[Coroutine[Any, Any, None]] = []
        if pair.schedule is not None:
            found.append(self._by_clock(name, pair, pair.schedule, verify=False))
        if pair.verification is not None:
            found.append(self._by_clock(name, pair, pair.verification, verify=True))
        if pair.events:
            found.append(self._by_events(name, pair))
        return found

    async def _by_clock(self, name: str, pair: Pair, cron: str, *, verify: bool) -> None:
        word = "verification" if verify else "schedule"
        ticks = Ticks.of(cron, None, "UTC")
        due = next(ticks.after(self._clock.now()))
        while True:
            await self._until(due)
            run = f"{word}-{due:%Y%m%dT%H%M%SZ}"
            await self._order(Order(name, run, pair.approval, verify=verify, by="nerv:sync", cause=word))
            due = next(ticks.after(max(due, self._clock.now())))

    async def _until(self, due: datetime) -> None:
        while (left := (due - self._clock.now()).total_seconds()) > 0:  # noqa: ASYNC110 - it is a clock
            await asyncio.sleep(min(left, LONGEST_SLEEP))

    async def _by_events(self, name: str, pair: Pair) -> None:
        after, run = await self._end(), f"start-{new_event_id()}"
        while True:
            await self._order(Order(name, run, pair.approval, by="nerv:sync", cause="event"), wait=True)
            after, run = await self._next(pair, after)

    async def _next(self, pair: Pair, after: str) -> tuple[str, str]:
        """Wait for events; answers the position after those that came together, and a run's id by the first of them."""
        query, run = ReadQuery(types=frozenset(pair.events)), ""
        while True:
            try:
                async with aclosing(self._history.subscribe_category(None, after=after, query=query)) as events:
                    first = await anext(events)
                    run, after = f"event-{digest(first.event.id.encode()).hex()}", first.position
                    async with asyncio.timeout(PAUSE_SECONDS):
                        async for followed in events:
                            after = followed.position
            except TimeoutError:
                return after, run
            except NervError as error:
                if run:  # one has come, and its run must not be forgotten
                    return after, run
                log.warning("trigger.waiting", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _end(self) -> str:
        """The position after all that is recorded now."""
        while True:
            try:
                return await self._history.end()
            except NervError as error:
                log.warning("trigger.waiting", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)

    async def _order(self, order: Order, *, wait: bool = False) -> None:
        """Order a run until it is over, or refused. `wait`: also while another one goes on, which may not have seen what came."""
        while True:
            try:
                if (await self._runs.order(order))["status"] != "running":
                    return
            except RunUnderWay:
                if not wait:
                    log.info("trigger.skipped", sync=order.sync, run=order.run)
                    return
            except NervError as error:
                log.warning("trigger.failed", sync=order.sync, run=order.run, error=str(error))
                if error.retry is Retry.NEVER:
                    return
            except Exception:
                # What an app's side raises must not end its schedule.
                log.exception("trigger.broke", sync=order.sync, run=order.run)
                return
            await asyncio.sleep(PAUSE_SECONDS)


def _tell(task: asyncio.Task[None]) -> None:
    """Say that a trigger has ended, which it should not."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("trigger.ended", trigger=task.get_name(), exc_info=error)
