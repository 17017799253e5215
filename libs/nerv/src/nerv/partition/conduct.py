# SPDX-License-Identifier: Apache-2.0
"""A run from its start to its end, as the task sees it that awaits it."""

import math
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from nerv.partition.bell import Bell
from nerv.partition.calling import is_awaitable
from nerv.partition.record import Progress
from nerv.partition.schedule import Schedule

LOOK_SECONDS = 0.02  # between two looks round: how late a time-out or an extra worker may come
REPORT_SECONDS = 0.05  # between two progress reports, so that a slow listener is not asked for each unit

OnProgress = Callable[[Progress], Awaitable[None] | None]


class Crew(Protocol):
    """The workers of one run."""

    error: BaseException | None
    """What kept them from working; no failure of a unit."""

    def start(self, group: TaskGroup) -> None:
        """Begin; what belongs to the event loop, in `group`. Raises Overloaded when the machine gives no worker."""

    @property
    def ended(self) -> bool:
        """Whether nothing runs, nothing will, and no worker is left that was not given up."""

    def stop(self, reason: str) -> None:
        """Begin nothing more."""

    def look_round(self, now: float) -> float:
        """See to what nobody else sees to: units that are overdue, work that lies about. Answers the seconds until the next
        unit is overdue."""

    def interrupt(self, reason: str, now: float) -> None:
        """Break off what runs, as far as that can be done."""

    def progress(self, now: float) -> Progress:
        """The run at this moment."""

    def join(self) -> None:
        """Wait for what has ended but for its last breath."""


class Conductor:
    """One run: watches over the crew, reports, and ends it in order when it is cancelled."""

    def __init__(self, schedule: Schedule, crew: Crew, bell: Bell) -> None:
        self._schedule = schedule
        self._crew = crew
        self._bell = bell
        self._over = anyio.Event()
        self._error: BaseException | None = None

    async def conduct(self, on_progress: OnProgress | None) -> None:
        """Until the crew has ended. A cancellation stops the run first: what is running may end within the grace.

        Raises what `on_progress` raised (the run is stopped then), or what kept the crew from working.
        """
        async with anyio.create_task_group() as group:
            if on_progress is not None:
                group.start_soon(self._report, on_progress)
            try:
                self._crew.start(group)
                await self._watch()
            except anyio.get_cancelled_exc_class():
                await self._end("the run was cancelled")
                raise
            except Exception as error:  # raised below, outside of the group, which would wrap it
                self._error = error
                await self._end(f"the run cannot go on: {error}")
            finally:
                self._over.set()
                self._crew.join()
        failed = self._crew.error or self._error
        if failed is not None:
            raise failed

    async def _end(self, reason: str) -> None:
        self._crew.stop(reason)
        with anyio.CancelScope(shield=True):
            try:
                await self._watch()
            except anyio.get_cancelled_exc_class():  # asked a second time: whoever asks does not want to wait
                self._crew.interrupt(f"it was broken off: {reason} twice", time.monotonic())
                raise

    async def _watch(self) -> None:
        until: float | None = None
        left = LOOK_SECONDS
        while not self._crew.ended:
            await self._bell.heard(left)
            now = time.monotonic()
            if self._schedule.stopping and until is None:
                until = now + self._schedule.options.grace
            if until is not None and now >= until:
                reason = f"it was broken off {self._schedule.options.grace:g} s after the run was stopped"
                self._crew.interrupt(f"{reason} ({self._schedule.stopping})", now)
            left = min(LOOK_SECONDS, self._crew.look_round(now), math.inf if until is None else max(0.001, until - now))

    async def _report(self, on_progress: OnProgress) -> None:
        try:
            while not self._over.is_set():
                await _told(on_progress, self._crew.progress(time.monotonic()))
                with anyio.move_on_after(REPORT_SECONDS):
                    await self._over.wait()
            await _told(on_progress, self._crew.progress(time.monotonic()))
        except Exception as error:  # raised to who awaits the run, when it has ended
            self._error = error
            self._crew.stop(f"on_progress raised {type(error).__name__}")


async def _told(on_progress: OnProgress, progress: Progress) -> None:
    told = on_progress(progress)
    if is_awaitable(told):
        await told  # type: ignore[misc] # mypy cannot see that it is no None then
