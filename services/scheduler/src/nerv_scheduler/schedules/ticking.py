# SPDX-License-Identifier: Apache-2.0
"""Follow the ticks of schedules. What a tick comes to is recorded first, with the version that was read; then it is done.

So of two replicas one records it, and both do it: a run's id is made of schedule and tick, so that it is started once. Who
begins does what the last recorded tick came to once more, for its replica may have died before.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

import structlog

from nerv.app import ScheduleSpec
from nerv.cancelling import end
from nerv.errors import Conflict, NervError, NotFound, Retry, VersionConflict
from nerv.protocols import Clock
from nerv.telemetry.traffic import saw
from nerv.types import EventType
from nerv_scheduler.record import Order, OrderKind, RunRecord
from nerv_scheduler.schedules.keeping import Schedules
from nerv_scheduler.schedules.state import GRACE, Became, ScheduleState, released, run_of, ticked

log = structlog.get_logger(__name__)

LOOK_SECONDS = (
    1.0  # how often it is looked whether a queued tick can be let go; also how late a clock that was set is noticed
)


class Starting(Protocol):
    """Starts runs (see `nerv_scheduler.runs.Starter`)."""

    async def start(self, workflow: str, run_input: Mapping[str, Any], run: str) -> bool:
        """Start a run, unless it was started."""
        ...

    def draw(self, workflow: str, run_input: Mapping[str, Any]) -> Any:
        """Raises what `start` would refuse."""
        ...


class Reading(Protocol):
    """Reads runs."""

    async def read(self, run: str) -> RunRecord:
        """What history says of a run. Raises NotFound."""
        ...


class Ordering(Protocol):
    """Gives orders."""

    async def order(self, run: str, order: Order) -> RunRecord:
        """See `nerv_scheduler.steering.Steering`."""
        ...


class Ticking:
    """Ticks from entering to leaving. `crashed` is set when it fails for good."""

    def __init__(
        self, schedules: Schedules, starter: Starting, runs: Reading, steering: Ordering, clock: Clock
    ) -> None:
        self.crashed: asyncio.Future[None] | None = None
        self._schedules = schedules
        self._starter = starter
        self._runs = runs
        self._steering = steering
        self._clock = clock
        self._done: dict[str, str] = {}  # by schedule: the run that this replica has started last
        self._task: asyncio.Task[None] | None = None
        self._fault: str | None = None

    def fault(self) -> str | None:
        """Why schedules are not followed; None when they are."""
        return self._fault

    async def __aenter__(self) -> Self:
        if self._schedules.specs:
            self._task = asyncio.create_task(self._tick(), name="schedules")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await end(self._task)

    async def _tick(self) -> None:
        try:
            while True:
                faults = [fault for spec in self._schedules.specs.values() if (fault := await self._try(spec))]
                self._fault = faults[0] if faults else None
                await asyncio.sleep(self._pause() * random.uniform(0.9, 1.0))  # noqa: S311 - jitter, no secret
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("schedules.crashed")
            if self.crashed is not None and not self.crashed.done():
                self.crashed.set_exception(error)

    async def _try(self, spec: ScheduleSpec) -> str | None:
        try:
            await self.follow(spec)
        except VersionConflict:
            return None  # another replica was quicker; the next look finds what it has recorded
        except NervError as error:
            log.warning("schedule.not_followed", schedule=spec.name, error=str(error))
            return f"schedule {spec.name} is not followed: {error}"
        return None

    def _pause(self) -> float:
        """Until the next tick of any schedule, at most one look."""
        now = self._clock.now()
        nexts = (next(spec.ticks.after(now), None) for spec in self._schedules.specs.values())
        left = [(tick - now).total_seconds() for tick in nexts if tick is not None]
        return min([LOOK_SECONDS, *left])

    async def follow(self, spec: ScheduleSpec) -> None:
        """Record and do what is due of one schedule. Raises VersionConflict, Unavailable, UnknownOutcome."""
        state = await self._schedules.current(spec)
        await self._do(spec, state)
        if state.paused:
            return
        if state.queued and not await self._busy(state):
            state = await self._next(spec, EventType.SCHEDULE_RELEASED, released(spec, state), state.queued[0])
        for tick in spec.ticks.due(state.position, self._clock.now(), grace=GRACE, missed=spec.catch_up):
            after = ticked(spec, state, tick, busy=await self._busy(state), refusal=self._refusal(spec, tick))
            state = await self._next(spec, EventType.SCHEDULE_TICKED, after, tick)

    async def _next(self, spec: ScheduleSpec, kind: EventType, state: ScheduleState, tick: datetime) -> ScheduleState:
        state = await self._schedules.append(spec.name, kind, state, tick)
        log.info("schedule.ticked", schedule=spec.name, tick=str(tick), became=state.became, why=state.why)
        await self._do(spec, state)
        return state

    async def _do(self, spec: ScheduleSpec, state: ScheduleState) -> None:
        """What the last recorded tick came to. Done before, nothing happens."""
        if state.became != Became.STARTED or state.latest_tick is None or self._done.get(spec.name) == state.latest:
            return
        if state.replaced:
            with suppress(Conflict, NotFound):  # it has ended by itself, or was never started
                order = Order(f"replaced by {state.latest}", OrderKind.CANCEL, f"schedule {spec.name} has ticked")
                await self._steering.order(state.replaced, order)
        try:
            run, run_input = run_of(spec.name, state.latest_tick), spec.input_at(state.latest_tick)
            if await self._starter.start(spec.workflow, run_input, run):
                saw(f"schedule:{spec.name}", f"workflow:{spec.workflow}", 1)
        except NervError as error:
            if error.retry is not Retry.NEVER:
                raise
            # It was looked at before it was recorded; the app is another one now.
            log.error("schedule.refused", schedule=spec.name, run=state.latest, error=str(error))
        self._done[spec.name] = state.latest

    async def _busy(self, state: ScheduleState) -> bool:
        """Whether the run of the last tick goes on."""
        if not state.latest:
            return False
        try:
            return not (await self._runs.read(state.latest)).status.ended
        except NotFound:
            return False

    def _refusal(self, spec: ScheduleSpec, tick: datetime) -> str:
        try:
            self._starter.draw(spec.workflow, spec.input_at(tick))
        except NervError as error:
            return str(error)
        return ""
