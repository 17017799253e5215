# SPDX-License-Identifier: Apache-2.0
"""Worker processes as their parent sees them: started without forking a threaded process, watched, ended.

They are started by multiprocessing's fork server (spawned where there is none), so that no lock of a running thread is copied.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

from nerv.errors import Invalid, Misconfigured, UnknownOutcome
from nerv.partition.child import READY, Hop, Reply, pack, serve, unpack
from nerv.partition.schedule import Schedule
from nerv.partition.tuning import OVERTIME
from nerv.partition.worker import Lost, Outcome, Worker

START_SECONDS = 60.0  # a process imports the program's main module first
EXIT_SECONDS = 2.0  # for a process that was told to end
RESTART_SECONDS = 0.1  # for a fork server that was killed to be seen as dead
BARREN = 3  # processes in a row that died before they began a unit: no unit's fault, and no use in a fourth
_STARTING = threading.Lock()  # multiprocessing's list of children is not made for several threads


class Died(Exception):
    """The process ended by itself or was killed. `begun` is the place in the hop that it had reached, -1 for none."""

    def __init__(self, begun: int) -> None:
        super().__init__(begun)
        self.begun = begun


class Child:
    """One worker process and the pipe to it. Used by one thread at a time, except `kill`."""

    def __init__(self, context: Any, memory: int = 0) -> None:
        self._connection, theirs = context.Pipe()
        self._begun = context.RawValue(ctypes.c_longlong, -1)
        self._process = context.Process(
            target=serve, args=(theirs, self._begun, memory), name="nerv-partition", daemon=True
        )  # a daemon: multiprocessing ends it with this program
        with _STARTING:
            self._process.start()
        theirs.close()
        self.pid: int = self._process.pid
        self._lock = threading.Lock()
        self._handle = _handle(self.pid)

    def ready(self, seconds: float) -> bool:
        """Whether it says so within `seconds`. Raises Died when it ended instead."""
        if not self._wait(seconds):
            return False
        try:
            if not self._connection.poll():
                raise Died(-1)
            return bool(self._connection.recv() == READY)
        except (EOFError, OSError) as error:
            raise Died(-1) from error

    def perform(self, hop: Hop) -> list[Reply]:
        """Run a hop; answers what it has come to. Raises Died."""
        self._begun.value = -1
        try:
            self._connection.send(hop)
            self._wait(None)
            if not self._connection.poll():
                self.kill()  # it has ended; or the fork server has, and nobody would tell of this one's end any more
                raise Died(self._begun.value)
            replies: list[Reply] = self._connection.recv()
        except (EOFError, OSError) as error:
            raise Died(self._begun.value) from error
        return replies

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        with _STARTING:
            return bool(self._process.is_alive())

    def kill(self) -> None:
        """End it now. Where the system has handles of processes, this holds whatever multiprocessing believes of it."""
        with self._lock, contextlib.suppress(ValueError, OSError):  # it is closed or gone already
            if self._handle is None:
                self._process.kill()
            else:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def close(self) -> None:
        """Let it end by itself, shortly, else kill it; nothing of it is left."""
        with contextlib.suppress(OSError, ValueError):
            self._connection.send(None)
        with contextlib.suppress(OSError):
            self._connection.close()
        with _STARTING:
            self._process.join(EXIT_SECONDS)
            self.kill()
            self._process.join()
            self._process.close()
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _wait(self, seconds: float | None) -> bool:
        return bool(wait([self._connection, self._process.sentinel], seconds))


def _handle(pid: int) -> int | None:
    """A handle of the process that stays its own when its number is given to another; None where there are none (not Linux)."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


class Children:
    """Processes that have nothing to do. While `kept` they wait for the next run, else they end when they come back.

    Each has at most `memory` bytes of address space (0: no bound).
    """

    def __init__(self, memory: int = 0) -> None:
        self._memory = memory
        methods = multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self._spare: list[Child] = []
        self._lock = threading.Lock()
        self.kept = False

    def take(self, given_up: Callable[[], bool]) -> Child | None:
        """One that is ready; None once `given_up`. Raises Misconfigured when processes end as soon as they are started."""
        for _ in range(BARREN):
            found = self._living()
            if found is not None:
                return found
            try:
                child = Child(self._context, self._memory)
            except (EOFError, OSError):  # the fork server is dying; once it is dead, it is started again
                time.sleep(RESTART_SECONDS)
                continue
            try:
                return child if self._started(child, given_up) else None
            except Died:
                child.close()
        raise Misconfigured(
            "worker processes end before they are ready; guard the program's start with if __name__ == '__main__': "
            "and see that its main module can be imported"
        )

    def give(self, child: Child) -> None:
        """Take one back."""
        with self._lock:
            if self.kept:
                self._spare.append(child)
                return
        child.close()

    def close(self) -> None:
        """End those that wait, and those that come back."""
        self.kept = False
        self.drop()

    def drop(self) -> None:
        """End those that wait."""
        with self._lock:
            spare, self._spare = self._spare, []
        for child in spare:
            child.close()

    def _living(self) -> Child | None:
        while True:
            with self._lock:
                if not self._spare:
                    return None
                child = self._spare.pop()
            if child.alive:
                return child
            child.close()  # somebody killed it while it waited

    @staticmethod
    def _started(child: Child, given_up: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + START_SECONDS
        while not child.ready(0.1):
            if given_up() or time.monotonic() > deadline:
                child.kill()
                child.close()
                if given_up():
                    return False
                raise Misconfigured(f"a worker process was not ready within {START_SECONDS:g} s; see what it imports")
        return True


class ProcessHands:
    """Units of one worker thread run in a process that it drives. A process that dies is replaced."""

    def __init__(self, schedule: Schedule, children: Children, given_up: Callable[[], bool]) -> None:
        self.lost = 0
        self._given_up = given_up
        self._schedule = schedule
        self._children = children
        self._child: Child | None = None
        self._barren = 0

    def open(self) -> None:
        """Get a process; none is needed any more when the run is ending. Raises Misconfigured."""
        self._child = self._children.take(self._given_up)

    @property
    def broken(self) -> bool:
        """Whether its process is gone. Only what is sent at once is taken, so that no unit's time runs while one starts."""
        return self._child is None

    def perform(self, worker: Worker, batch: list[int]) -> list[int]:
        """Send the batch, wait for the answers. What was begun when the process died ends as Lost."""
        if self._child is None:
            return batch
        sent, jobs = self._pack(worker, batch)
        if not sent:
            return []
        options = self._schedule.options
        try:
            replies = self._child.perform(Hop(jobs, OVERTIME * options.target, options.cancels))
        except Died as died:
            return self._died(worker, sent, died.begun)
        self._barren = 0
        for number, reply in zip(sent, replies, strict=False):
            worker.outcomes.append(self._outcome(number, reply))
        return sent[len(replies) :]

    def kill(self) -> bool:
        """End the process."""
        child = self._child
        if child is not None:
            child.kill()
        return child is not None

    def close(self) -> None:
        """Give the process back."""
        child, self._child = self._child, None
        if child is not None:
            self._children.give(child)

    def _pack(self, worker: Worker, batch: list[int]) -> tuple[list[int], list[bytes]]:
        """What can be sent of the batch; the rest has failed."""
        schedule = self._schedule
        sent: list[int] = []
        jobs: list[bytes] = []
        for number in batch:
            unit, parts = schedule.units[number], schedule.merging.get(number)
            inputs = {schedule.names[need]: schedule.values[need] for need in schedule.needs[number]}
            now = time.monotonic()
            try:
                jobs.append(pack((unit, inputs, parts)))
                sent.append(number)
            except Exception as error:  # user classes fail in any way when they are pickled
                text = f"unit {schedule.names[number]} or what it needs cannot be sent to a process: {error}; "
                told = Misconfigured(text + "use functions that can be imported, and plain data")
                told.__cause__ = error
                worker.outcomes.append(Outcome(number, told, None, now, now))
        return sent, jobs

    def _outcome(self, number: int, reply: Reply) -> Outcome:
        try:
            value = unpack(reply.payload)
        except Exception as error:  # and when they are unpickled
            name = self._schedule.names[number]
            told = Invalid(f"the result of unit {name} cannot be read back from its process: {error}")
            return Outcome(number, told, None, reply.began, reply.ended)
        if reply.ok:
            return Outcome(number, None, value, reply.began, reply.ended)
        return Outcome(number, value, None, reply.began, reply.ended)

    def _died(self, worker: Worker, sent: Sequence[int], begun: int) -> list[int]:
        worker.returning = True
        child, self._child = self._child, None
        if child is not None:
            child.close()
        self.lost += not worker.reason
        self._barren = self._barren + 1 if begun < 0 else 0
        if self._barren >= BARREN:
            raise Misconfigured(
                "worker processes die before they begin a unit; see what the units' modules do on import"
            )
        now = time.monotonic()
        for number in sent[: begun + 1]:
            error = UnknownOutcome(worker.reason) if worker.reason else Lost()
            worker.outcomes.append(Outcome(number, error, None, worker.began, now))
        return list(sent[begun + 1 :])
