# SPDX-License-Identifier: Apache-2.0
"""Worker threads: one lock, taken once a hop, around the schedule. With processes each thread drives one of them."""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anyio.abc import TaskGroup

from nerv.errors import Overloaded
from nerv.partition.calling import Hands
from nerv.partition.record import Progress
from nerv.partition.schedule import Schedule
from nerv.partition.worker import Outcome, Worker

LINGER = 0.25  # seconds that a worker above the lower bound waits for work before it leaves
JOIN_SECONDS = 5.0  # for a thread that has nothing left to do but to end


MakeHands = Callable[[Schedule, Callable[[], bool]], Hands]
"""Makes the hands of a thread, given what to run and a function that says whether it is all over."""


class ThreadCrew:
    """The workers of one run. `ring` is called, from any thread, when the run may be over or is to end early."""

    def __init__(self, schedule: Schedule, make: MakeHands, ring: Callable[[], None]) -> None:
        self.error: BaseException | None = None  # what kept the crew from working; no failure of a unit
        self.abandoned: list[threading.Thread] = []
        self._schedule = schedule
        self._make = make
        self._ring = ring
        self._changed = threading.Condition(threading.Lock())
        self._threads: dict[Worker, threading.Thread] = {}
        self._ended: list[threading.Thread] = []
        self._hands: dict[Worker, Hands] = {}
        self._context = contextvars.copy_context()

    def start(self, group: TaskGroup) -> None:
        """Hire the first workers; none of them is a task of `group`. Raises Overloaded when the machine gives no thread."""
        with self._changed:
            workers = [self._schedule.hire(time.monotonic()) for _ in range(self._schedule.deal())]
            self._schedule.deal_to(workers)
            for worker in workers:
                self._start(worker)

    @property
    def ended(self) -> bool:
        """Whether the run is over and every worker has left or was given up."""
        return self._schedule.over and not self._threads

    def stop(self, reason: str) -> None:
        """Begin nothing more."""
        with self._changed:
            self._schedule.stop(reason)
            self._changed.notify_all()

    def look_round(self, now: float) -> float:
        """End units that are overdue, and get a worker for work that lies about because a guess was wrong.

        Answers the seconds until the next unit is overdue.
        """
        with self._changed:
            for worker, reason in self._schedule.overdue(now):
                self._break_off(worker, reason, now)
            if self._schedule.ready and not self._schedule.stopping:
                if any(worker.waiting for worker in self._schedule.workers):
                    self._changed.notify()
                elif len(self._schedule.workers) < self._schedule.options.high:
                    self._hire(now)
            return self._schedule.until_overdue(now)

    def interrupt(self, reason: str, now: float) -> None:
        """Break off whatever runs: processes are killed, threads given up."""
        with self._changed:
            for worker in list(self._schedule.workers):
                if worker.batch and not worker.reason:
                    self._break_off(worker, reason, now)

    def progress(self, now: float) -> Progress:
        """The run at this moment."""
        with self._changed:
            return self._schedule.progress(now)

    def join(self) -> None:
        """Wait for the threads that have left."""
        for thread in self._ended:
            thread.join(JOIN_SECONDS)

    def _break_off(self, worker: Worker, reason: str, now: float) -> None:
        hands = self._hands.get(worker)
        if not worker.divide and hands is not None and hands.kill():
            worker.reason = reason
            self._schedule.counters["killed"] += 1
            return
        if not self._schedule.give_up(worker, reason, now):
            return
        thread = self._threads.pop(worker)
        thread.name = f"{thread.name} (abandoned)"
        self.abandoned.append(thread)
        self._staff(now)

    def _hire(self, now: float) -> None:
        worker = self._schedule.hire(now)
        try:
            self._start(worker)
        except Overloaded:
            if len(self._schedule.workers) == 0:
                raise

    def _start(self, worker: Worker) -> None:
        thread = threading.Thread(
            target=self._context.copy().run,
            args=(self._main, worker),
            name=f"nerv-partition-{worker.number}",
            daemon=True,  # one that hangs must not keep the program from ending
        )
        try:
            thread.start()
        except RuntimeError as error:
            self._schedule.dismiss(worker, time.monotonic())
            raise Overloaded(f"no thread can be started: {error}; lower workers=", retry_after=1.0) from error
        self._threads[worker] = thread

    def _main(self, worker: Worker) -> None:
        hands = self._make(self._schedule, self._is_over)
        with self._changed:
            self._hands[worker] = hands
        try:
            hands.open()
            self._work(worker, hands)
        except BaseException as error:  # told to who awaits the run
            self._give_back(worker, error)
        finally:
            hands.close()
            with self._changed:
                self._leave(worker)

    def _work(self, worker: Worker, hands: Hands) -> None:
        with self._changed:
            batch = self._next(worker)
        while batch:
            left = self._divided(worker) if worker.divide else None
            if left is None:
                left = hands.perform(worker, batch)
            worker.returning = True
            with self._changed:
                self._schedule.counters["lost"] += hands.lost
                hands.lost = 0
                if worker.batch:
                    self._schedule.settle(worker, worker.outcomes, left)
                batch = [] if hands.broken else self._next(worker)
            if hands.broken and not worker.gone:
                hands.open()
                with self._changed:
                    batch = self._next(worker)

    def _is_over(self) -> bool:
        with self._changed:
            return self._schedule.over or bool(self._schedule.stopping)

    def _divided(self, worker: Worker) -> list[int] | None:
        """Split the worker's unit. None: it cannot be split, and is to be run as it is."""
        [number] = worker.batch
        began = time.monotonic()
        try:
            parts = self._schedule.units[number].split(worker.divide)
        except BaseException as error:  # whatever a unit raises is its own failure
            worker.outcomes.append(Outcome(number, error, None, began, time.monotonic()))
            return []
        with self._changed:
            return [] if worker.gone or self._schedule.spread(worker, parts) else None

    def _next(self, worker: Worker) -> list[int]:
        """What to run now; nothing when the worker may go. The lock is held."""
        schedule = self._schedule
        while not worker.gone:
            now = time.monotonic()
            batch = schedule.take(worker, now)
            self._staff(now)
            if batch or schedule.stopping or schedule.over:
                return batch
            with _waiting(worker):
                woken = self._changed.wait(LINGER)
            if not woken and not schedule.ready and len(schedule.workers) > schedule.options.low:
                break
        return []

    def _staff(self, now: float) -> None:
        schedule = self._schedule
        if schedule.stopping or schedule.over:
            self._changed.notify_all()
            self._ring()
            return
        idle = sum(1 for worker in schedule.workers if worker.waiting)
        wanted = schedule.wanted()
        if idle and wanted > len(schedule.workers) - idle:
            self._changed.notify(wanted - len(schedule.workers) + idle)
        for _ in range(wanted - len(schedule.workers)):
            self._hire(now)

    def _give_back(self, worker: Worker, error: BaseException) -> None:
        with self._changed:
            self.error = self.error or error
            self._schedule.stop(f"a worker cannot go on: {error}")
            if worker.batch:
                self._schedule.settle(worker, worker.outcomes, worker.batch[len(worker.outcomes) :])

    def _leave(self, worker: Worker) -> None:
        self._hands.pop(worker, None)
        thread = self._threads.pop(worker, None)
        if thread is not None:
            self._schedule.dismiss(worker, time.monotonic())
            self._ended.append(thread)
            self._staff(time.monotonic())


@contextmanager
def _waiting(worker: Worker) -> Iterator[None]:
    worker.waiting = True
    try:
        yield
    finally:
        worker.waiting = False
