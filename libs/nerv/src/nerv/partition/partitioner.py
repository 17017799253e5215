# SPDX-License-Identifier: Apache-2.0
"""QuantumPartitioner: runs a graph of units on threads, processes or an event loop."""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar, Literal, Self, get_args

import anyio

from nerv.errors import Invalid, Misconfigured
from nerv.partition.bell import Bell
from nerv.partition.calling import Hands, HereHands
from nerv.partition.conduct import Conductor, Crew, OnProgress
from nerv.partition.crew import ThreadCrew
from nerv.partition.plan import Plan
from nerv.partition.processes import Children, ProcessHands
from nerv.partition.record import RunRecord
from nerv.partition.schedule import Schedule
from nerv.partition.tasks import TaskCrew
from nerv.partition.tuning import Options
from nerv.protocols import QuantumUnit
from nerv.types import Description, Health

Backend = Literal["threads", "processes", "asyncio"]
OnError = Literal["cancel", "continue"]
WhenLost = Literal["again", "unknown"]
TASKS_PER_CPU = 16  # units on an event loop wait most of the time
MOST_WORKERS = 1024


class QuantumPartitioner:
    """Runs units as soon as what they need is there, on as many workers as the work is worth.

    `backend`   where units run. `threads`: cheap, for units that wait or release the GIL. `processes`: units, inputs and
                results are pickled between this program and processes that it started itself (never from outside: rule 22).
                `asyncio`: tasks of the running loop, for coroutine functions; a plain function holds the loop.
    `workers`   (fewest, most) of a run. Default: 1 to the processors that this program may use (16 times as many on asyncio).
    `target`    seconds that a hop should last: units that last less are fused; splittable ones that last more than
                4 targets for each worker are split.
    `stealing`  whether a worker without work takes half of what the longest queue holds.
    `on_error`  `cancel`: the first failure ends the run, what is running may end within `grace` seconds;
                `continue`: only what needs the failed unit is cancelled.
    `queue`     ready units that one worker may have for itself; the rest waits in a common backlog of at most `limit`.
    `lost`      of a unit whose process died: `again` runs it once more, alone, then it is unknown; `unknown` (for units
                with effects outside): never. Units of the hop that had not begun are not concerned.
    `grace`     seconds for what runs when a run is stopped; then coroutines are cancelled, processes killed, and threads,
                which nothing can stop, are abandoned and counted until their unit returns.
    `limit`     units in a run.

    Processes started by a run end with it, unless it is within `with` or `async with`, which keeps them for the next one.
    A program that uses them must be guarded by `if __name__ == "__main__":`. Raises Invalid for a setting out of range.
    """

    schedule: ClassVar[type[Schedule]] = Schedule
    """What decides; tests seed bugs into it."""

    def __init__(
        self,
        backend: Backend = "threads",
        *,
        workers: tuple[int, int] | None = None,
        target: float = 0.005,
        stealing: bool = True,
        on_error: OnError = "cancel",
        queue: int = 1024,
        lost: WhenLost = "again",
        grace: float = 5.0,
        limit: int = 100_000,
        name: str = "partitioner",
    ) -> None:
        _check("backend", backend, get_args(Backend))
        _check("on_error", on_error, get_args(OnError))
        _check("lost", lost, get_args(WhenLost))
        low, high = workers or (1, default_workers(backend))
        if not 1 <= low <= high <= MOST_WORKERS:
            raise Invalid(f"workers are (fewest, most), from 1 to {MOST_WORKERS}, not {(low, high)}")
        if not (0 < target < float("inf") and 0 <= grace < float("inf")):
            raise Invalid(f"target must be above 0 and grace at least 0 seconds, not {target} and {grace}")
        if queue < 1 or limit < 1:
            raise Invalid(f"queue and limit are at least 1, not {queue} and {limit}")
        self.name = name
        self.interrupted: RunRecord | None = None
        """The record of the last run that ended in an exception, a cancellation for one, which could not return it."""
        self._backend = backend
        self._limit = limit
        self._options = Options(low, high, target, stealing, on_error == "cancel", queue, lost == "again", grace)
        self._children = Children()
        self._counters: Counter[str] = Counter()
        self._abandoned: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._children.kept = True
        return self

    def __exit__(self, *exc: object) -> None:
        self._children.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._children.close)

    async def run(self, units: Iterable[QuantumUnit], *, on_progress: OnProgress | None = None) -> RunRecord:
        """Run them all and answer what became of each. A failing unit raises nothing here: see the record.

        `on_progress(Progress)` is called, and awaited, on this loop: at the start, at most 20 times a second, at the end; if
        it raises, the run is stopped and this raises that. A cancellation of the awaiting task stops the run, waits for what
        is running as `grace` says, and goes on; a second one does not wait. Raises Misconfigured for a circle (named), a
        missing need, a name given twice, a time-out that nothing could keep, processes that do not start; TooLarge beyond
        `limit`; Overloaded when the machine gives no thread.
        """
        schedule = self.schedule(Plan.of(units, self._limit), self._options, time.monotonic())
        bell = Bell()
        crew = self._crew(schedule, bell)
        finished = False
        try:
            await Conductor(schedule, crew, bell).conduct(on_progress)
            finished = True
        finally:
            record = schedule.record(time.monotonic())
            self._count(record, crew)
            self.interrupted = self.interrupted if finished else record
        return record

    def run_sync(self, units: Iterable[QuantumUnit], *, on_progress: OnProgress | None = None) -> RunRecord:
        """The same for a program without an event loop. Raises Misconfigured where one is running."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return anyio.run(partial(self.run, units, on_progress=on_progress))
        raise Misconfigured("an event loop is running here: use await run(units) instead of run_sync(units)")

    def describe(self) -> Description:
        """What it has done since it was made. DEGRADED while a thread hangs in a unit that was given up."""
        with self._lock:
            self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
            health = Health.DEGRADED if self._abandoned else Health.OK
            counters = dict(self._counters)
        return Description(
            "QuantumPartitioner",
            self.name,
            inputs=("QuantumUnit",),
            outputs=("RunRecord",),
            counters=counters,
            health=health,
        )

    def _crew(self, schedule: Schedule, bell: Bell) -> Crew:
        if self._backend == "asyncio":
            return TaskCrew(schedule, bell.ring)
        return ThreadCrew(schedule, self._hands, bell.ring)

    def _hands(self, schedule: Schedule, over: Callable[[], bool]) -> Hands:
        return ProcessHands(schedule, self._children, over) if self._backend == "processes" else HereHands(schedule)

    def _count(self, record: RunRecord, crew: Crew) -> None:
        with self._lock:
            self._counters.update(record.counters)
            self._counters["runs"] += 1
            self._counters["done"] += len(record.results)
            self._counters["failed"] += len(record.failures)
            self._counters["unknown"] += len(record.unknown)
            self._counters["cancelled"] += len(record.cancelled)
            if isinstance(crew, ThreadCrew):
                self._abandoned += crew.abandoned


def default_workers(backend: Backend) -> int:
    """The most workers by default: the processors that this program may use, and more where units only wait."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        processors = os.cpu_count() or 1
    return min(MOST_WORKERS, processors * (TASKS_PER_CPU if backend == "asyncio" else 1))


def _check(setting: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise Invalid(f"{setting} is one of {', '.join(known)}, not {given!r}")
