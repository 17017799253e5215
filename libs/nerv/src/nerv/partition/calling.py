# SPDX-License-Identifier: Apache-2.0
"""Running units where one is: a worker thread runs a hop of them here, one after the other."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Protocol

from nerv.partition.schedule import Schedule
from nerv.partition.tuning import OVERTIME
from nerv.partition.worker import Outcome, Worker
from nerv.types import T


class Hands(Protocol):
    """How the worker threads of a crew run what they took. Used by one thread, except `kill`."""

    lost: int
    """Processes that died and were not yet told of."""

    @property
    def broken(self) -> bool:
        """Whether `open` must be called before units are taken."""

    def open(self) -> None:
        """Get ready to run units; may take as long as a process takes to start. Raises Misconfigured when it cannot."""

    def perform(self, worker: Worker, batch: list[int]) -> list[int]:
        """Run the batch, append to `worker.outcomes` as units end, and answer what was not begun."""

    def kill(self) -> bool:
        """Break off what is running; False when that cannot be done. `perform` then ends soon. Called by another thread."""

    def close(self) -> None:
        """Give back what `open` took."""


def begin(schedule: Schedule, number: int) -> Any:
    """Run or merge a unit: its result, or an awaitable of it."""
    unit = schedule.units[number]
    if schedule.merging and number in schedule.merging:
        return unit.merge(schedule.merging[number])
    names, values = schedule.names, schedule.values
    return unit.run({names[need]: values[need] for need in schedule.needs[number]})


def is_awaitable(value: object) -> bool:
    """Whether it must be awaited; `inspect.isawaitable` takes longer than a small unit."""
    return hasattr(type(value), "__await__")


async def awaited(value: Awaitable[T]) -> T:
    """Any awaitable as a coroutine."""
    return await value


class HereHands:
    """Units run in the worker thread itself. A coroutine runs on an event loop that the thread keeps for them."""

    lost = 0
    broken = False

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._runner = asyncio.Runner()

    def open(self) -> None:
        """Nothing is needed."""

    def perform(self, worker: Worker, batch: list[int]) -> list[int]:
        """Run the batch until the run stops, a unit fails that ends it, or the hop has gone on for too long."""
        schedule, outcomes, clock = self._schedule, worker.outcomes, time.monotonic
        cancels = schedule.options.cancels
        ended = clock()
        limit = ended + OVERTIME * schedule.options.target
        for place, number in enumerate(batch):
            if schedule.stopping or worker.gone or (place and ended > limit):
                return batch[place:]
            error: BaseException | None = None
            value: Any = None
            try:
                value = begin(schedule, number)
                if hasattr(type(value), "__await__"):
                    value = self._runner.run(awaited(value))
            except BaseException as raised:  # whatever a unit raises is its own failure
                error, value = raised, None
            began, ended = ended, clock()
            outcomes.append(Outcome(number, error, value, began, ended))
            if error is not None and cancels:
                return batch[place + 1 :]
        return []

    def kill(self) -> bool:
        """A thread cannot be broken off."""
        return False

    def close(self) -> None:
        """End the event loop, if one was needed."""
        self._runner.close()
