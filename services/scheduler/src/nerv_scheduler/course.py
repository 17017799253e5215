# SPDX-License-Identifier: Apache-2.0
"""The course of a quantum: which task is called next, with what, and what has come of those before. It calls nothing itself."""

import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from nerv.api.workflow.v1 import workflow_pb2
from nerv.partition.tuning import OUTLIER, OVERTIME, WORTH_WAKING
from nerv.protocols import Clock
from nerv.workflows import Argument, Result, arguments_of, filled, resolve
from nerv_scheduler.fusing import Fusing, Strand, fusable
from nerv_scheduler.invoke import Callee
from nerv_scheduler.results import INLINE_BYTES

BYTES = 96 * 1024  # of its record, after which a quantum ends: an event may have 256 KiB
ENTRY_BYTES = 160  # of the record of a task, besides its names and its result
LATER = 0.002  # s: timers of uvloop may end a millisecond early

Outcome = Result | Exception
Step = tuple[workflow_pb2.Task, Callee, list[Any]]


@dataclass(frozen=True, slots=True)
class Ran:
    """One task that was called: what it returned, as JSON too, or raised."""

    task: workflow_pb2.Task
    began: datetime
    ended: datetime
    outcome: Outcome
    json: bytes = b""

    @property
    def plain(self) -> bool:
        """Whether what follows it may follow: it is done, has no effects, and its result is small."""
        return isinstance(self.outcome, Result) and not self.outcome.effects and not self.large

    @property
    def large(self) -> bool:
        """Whether its result is too large for the record of a quantum."""
        return len(self.json) > INLINE_BYTES


class Course:
    """Goes through strands. `begun` are those that have begun, with what was called of each; `arguments` as `asked` gives them.

    A strand ends with its chain, with a failure, with effects, and with a result that is large. All end when time is up.
    While it is gone through in a thread, the loop may take from it what has not begun.
    """

    def __init__(
        self,
        strands: Sequence[Strand],
        arguments: Mapping[str, Sequence[Argument]],
        outputs: dict[str, Any],
        callees: Mapping[str, Callee],
        clock: Clock,
        fusing: Fusing,
    ) -> None:
        self.begun: list[tuple[Strand, list[Ran]]] = []
        self.timeout = max(callees[strand.task.task].spec.timeout for strand in strands)
        self.over = False  # nobody waits for it any more: what a thread still brings is late
        self._left = deque(strands)
        self._calling: tuple[str, float] | None = None  # a task, and since when
        self._until = time.perf_counter() + OVERTIME * fusing.target
        self._is_async = callees[strands[0].task.task].is_async
        self._arguments = arguments
        self._outputs = outputs
        self._callees = callees
        self._clock = clock
        self._fusing = fusing
        self._bytes = 0
        self._going = self._steps()

    def next(self, outcome: Outcome | None) -> Step | None:
        """The next call, given what came of the one before (None at first); None when there is none."""
        try:
            return self._going.send(outcome)
        except StopIteration:
            return None

    def rest(self) -> list[Strand]:
        """Those that have not begun; they will not, here. The first one stays, unless all is over: a quantum does something."""
        left: list[Strand] = []
        with suppress(IndexError):
            while self.over or self.begun or len(self._left) > 1:
                left.append(self._left.pop())
        return left[::-1]

    def patience(self) -> float:
        """Seconds until this is to be asked again; 0 or less where what has not begun is not to wait any longer: time is up, what
        is called is found to be no tiny task, or the target is over and the rest of the time will not suffice by what is known.
        """
        now, target, calling = time.perf_counter(), self._fusing.target, self._calling
        left = self._until - now
        soon = left - target + LATER if left > target else left  # once the target is over, and then once time is up
        if calling is None:
            return soon
        task, since = calling
        known = self._fusing.known(task) or 0.0
        if left <= target and known * len(self._left) > left:
            return 0.0
        return min(soon, since + max(OUTLIER * known, WORTH_WAKING * target) - now)

    def note_unfinished(self) -> None:
        """What is called now has taken so long already."""
        calling = self._calling
        if calling is not None:
            self._fusing.note_unfinished(calling[0], time.perf_counter() - calling[1])

    def _steps(self) -> Generator[Step, Outcome | None, None]:
        while self._left:
            if self.begun and (time.perf_counter() > self._until or self._bytes > BYTES):
                return
            try:
                strand = self._left.popleft()
            except IndexError:
                return  # `rest` came in between
            ran: list[Ran] = []
            self.begun.append((strand, ran))
            for task in (strand.task, *strand.chain):
                callee = self._callees.get(task.task)
                if callee is None or callee.is_async != self._is_async or not fusable(callee):
                    break
                if task is not strand.task and (time.perf_counter() > self._until or self._bytes > BYTES):
                    return
                began, since = self._clock.now(), time.perf_counter()
                self._calling = task.task, since
                outcome = yield task, callee, self._given(task)
                self._calling = None
                if self.over or outcome is None:
                    return
                self._fusing.note(task.task, time.perf_counter() - since)
                if not self._took(ran, task, began, outcome):
                    break

    def _took(self, ran: list[Ran], task: workflow_pb2.Task, began: datetime, outcome: Outcome) -> bool:
        """Note what came of a task; whether its chain goes on."""
        json = orjson.dumps(outcome.value) if isinstance(outcome, Result) else b""
        one = Ran(task, began, self._clock.now(), outcome, json)
        ran.append(one)
        self._bytes += ENTRY_BYTES + len(task.node) + len(task.task) + len(json)
        if isinstance(outcome, Result):
            self._outputs[task.node] = outcome.value
        return one.plain

    def _given(self, task: workflow_pb2.Task) -> list[Any]:
        output = self._outputs.__getitem__
        return [resolve(filled(argument, output), output) for argument in self._arguments[task.node]]


def asked(strands: Sequence[Strand]) -> dict[str, tuple[Argument, ...]]:
    """What each node of the strands is to be given, by its name."""
    tasks = [task for strand in strands for task in (strand.task, *strand.chain)]
    return {task.node: arguments_of(orjson.loads(task.arguments or b"[]")) for task in tasks}
