# SPDX-License-Identifier: Apache-2.0
"""Workers that are tasks of the event loop: for units that wait more than they compute."""

import inspect
import math
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from nerv.errors import Misconfigured, UnknownOutcome
from nerv.partition.calling import begin
from nerv.partition.record import Progress
from nerv.partition.schedule import Schedule
from nerv.partition.tuning import OVERTIME
from nerv.partition.worker import Outcome, Worker


class TaskCrew:
    """The workers of one run. They are shielded from the cancellation of who awaits the run, for that asks them to stop first.

    A worker without work leaves at once, as a new one costs next to nothing.
    """

    def __init__(self, schedule: Schedule, ring: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._schedule = schedule
        self._group: TaskGroup | None = None
        self._ring = ring
        self._scopes: dict[Worker, anyio.CancelScope] = {}
        for number in schedule.timeouts:
            _check_timeout(schedule, number)

    def start(self, group: TaskGroup) -> None:
        """Hire the first workers, in `group`."""
        self._group = group
        workers = [self._schedule.hire(time.monotonic()) for _ in range(self._schedule.deal())]
        self._schedule.deal_to(workers)
        for worker in workers:
            self._start(worker)

    @property
    def ended(self) -> bool:
        """Whether the run is over and every worker has left."""
        return self._schedule.over and not self._scopes

    def stop(self, reason: str) -> None:
        """Begin nothing more."""
        self._schedule.stop(reason)

    def look_round(self, now: float) -> float:
        """Get a worker for work that lies about because a guess was wrong. Units watch their time themselves."""
        schedule = self._schedule
        if schedule.ready and not schedule.stopping and len(schedule.workers) < schedule.options.high:
            self._start(schedule.hire(now))
        return math.inf

    def interrupt(self, reason: str, now: float) -> None:
        """Cancel whatever runs."""
        for worker, scope in list(self._scopes.items()):
            worker.reason = reason
            scope.cancel()

    def progress(self, now: float) -> Progress:
        """The run at this moment."""
        return self._schedule.progress(now)

    def join(self) -> None:
        """Nothing is left to wait for."""

    def _start(self, worker: Worker) -> None:
        self._scopes[worker] = anyio.CancelScope(shield=True)
        if self._group is not None:
            self._group.start_soon(self._main, worker)

    async def _main(self, worker: Worker) -> None:
        try:
            with self._scopes[worker]:
                await self._work(worker)
        except BaseException as error:  # told to who awaits the run
            self.error = self.error or error
            self._schedule.stop(f"a worker cannot go on: {error}")
        finally:
            if worker.batch:  # cancelled between two units
                left = worker.batch[len(worker.outcomes) :]
                self._schedule.settle(worker, worker.outcomes, left)
            del self._scopes[worker]
            self._schedule.dismiss(worker, time.monotonic())
            if self.ended or self._schedule.stopping:
                self._ring()

    async def _work(self, worker: Worker) -> None:
        while batch := self._next(worker):
            left = [] if worker.divide and self._divided(worker) else await self._perform(worker, batch)
            if worker.batch:
                self._schedule.settle(worker, worker.outcomes, left)
            await anyio.lowlevel.checkpoint()  # a hop of plain functions holds the loop; others come now

    def _next(self, worker: Worker) -> list[int]:
        schedule, now = self._schedule, time.monotonic()
        batch = schedule.take(worker, now)
        for _ in range(0 if schedule.stopping else schedule.wanted() - len(schedule.workers)):
            self._start(schedule.hire(now))
        return batch

    def _divided(self, worker: Worker) -> bool:
        """Split the worker's unit; False when it cannot be split and is to be run as it is."""
        [number] = worker.batch
        began = time.monotonic()
        try:
            parts = self._schedule.units[number].split(worker.divide)
        except BaseException as error:  # whatever a unit raises is its own failure
            worker.outcomes.append(Outcome(number, error, None, began, time.monotonic()))
            return True
        return self._schedule.spread(worker, parts)

    async def _perform(self, worker: Worker, batch: list[int]) -> list[int]:
        schedule = self._schedule
        ended = time.monotonic()
        limit = ended + OVERTIME * schedule.options.target
        for place, number in enumerate(batch):
            if schedule.stopping or (place and ended > limit):
                return batch[place:]
            error: BaseException | None = None
            value: Any = None
            try:
                value = begin(schedule, number)
                if hasattr(type(value), "__await__"):
                    value = await self._awaited(number, value)
            except BaseException as raised:  # whatever a unit raises is its own failure
                error, value = self._meant(worker, number, raised), None
            began, ended = ended, time.monotonic()
            worker.outcomes.append(Outcome(number, error, value, began, ended))
            if error is not None and schedule.options.cancels:
                return batch[place + 1 :]
        return []

    async def _awaited(self, number: int, value: Any) -> Any:
        seconds = self._schedule.timeouts.get(number)
        if seconds is None:
            return await value
        with anyio.move_on_after(seconds) as scope:
            return await value
        if scope.cancelled_caught:
            name = self._schedule.names[number]
            raise UnknownOutcome(f"unit {name} was still running after its {seconds:g} seconds, and was cancelled")
        return None

    def _meant(self, worker: Worker, number: int, raised: BaseException) -> BaseException:
        """A cancellation of ours leaves the unit's end unknown; one of its own making is its failure."""
        if isinstance(raised, anyio.get_cancelled_exc_class()) and self._scopes[worker].cancel_called:
            return UnknownOutcome(f"unit {self._schedule.names[number]} was cancelled while it ran: {worker.reason}")
        return raised


def _check_timeout(schedule: Schedule, number: int) -> None:
    function = getattr(schedule.units[number], "function", None)
    called = getattr(function, "__call__", None)  # noqa: B004 - an object whose call is a coroutine function
    if function is not None and not (inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)):
        name = schedule.names[number]
        raise Misconfigured(
            f"unit {name} has a timeout but is a plain function, which nothing can stop on an event loop; "
            "make it a coroutine function, or use threads or processes"
        )
