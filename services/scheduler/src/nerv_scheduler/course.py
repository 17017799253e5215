# SPDX-License-Identifier: Apache-2.0
"""The course of a quantum: which task is called next, with what, and what has come of those before. It calls nothing itself."""

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from nerv.api.workflow.v1 import workflow_pb2
from nerv.partition.tuning import OVERTIME
from nerv.protocols import Clock
from nerv.workflows import Argument, Result, arguments_of, filled, resolve
from nerv_scheduler.fusing import Fusing, Strand
from nerv_scheduler.invoke import Callee

BYTES = 96 * 1024  # of its record, after which a quantum ends: an event may have 256 KiB
ENTRY_BYTES = 160  # of the record of a task, besides its names and its result

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
        """Whether it may stand in the record of the quantum: it is done, has no effects, and its result is small."""
        return isinstance(self.outcome, Result) and not self.outcome.effects and len(self.json) <= BYTES


class Course:
    """Goes through strands. `ran` is what was called of each; strands from `begun` on have not begun.

    A strand ends with its chain, with a failure, with effects, and with a result that is large. All end when time is up.
    """

    def __init__(
        self,
        strands: Sequence[Strand],
        outputs: dict[str, Any],
        callees: Mapping[str, Callee],
        clock: Clock,
        fusing: Fusing,
    ) -> None:
        self.strands = strands
        self.ran: list[list[Ran]] = [[] for _ in strands]
        self.begun = 0
        self.over = False  # nobody waits for it any more: what a thread still brings is late
        self._outputs = outputs
        self._callees = callees
        self._clock = clock
        self._fusing = fusing
        self._bytes = 0
        self._calling = self._steps()

    def next(self, outcome: Outcome | None) -> Step | None:
        """The next call, given what came of the one before (None at first); None when there is none."""
        try:
            return self._calling.send(outcome)
        except StopIteration:
            return None

    def _steps(self) -> Generator[Step, Outcome | None, None]:
        until = time.monotonic() + OVERTIME * self._fusing.target
        is_async = self._callees[self.strands[0].task.task].is_async
        for number, strand in enumerate(self.strands):
            if number and (time.monotonic() > until or self._bytes > BYTES):
                return
            self.begun = number + 1
            for task in (strand.task, *strand.chain):
                callee = self._callees.get(task.task)
                if callee is None or callee.is_async != is_async or callee.spec.pool != "auto":
                    break
                if task is not strand.task and (time.monotonic() > until or self._bytes > BYTES):
                    return
                began, since = self._clock.now(), time.perf_counter()
                outcome = yield task, callee, self._arguments(task)
                if self.over or outcome is None:
                    return
                self._fusing.note(task.task, time.perf_counter() - since)
                if not self._took(number, task, began, outcome):
                    break

    def _took(self, number: int, task: workflow_pb2.Task, began: datetime, outcome: Outcome) -> bool:
        """Note what came of a task; whether its chain goes on."""
        json = orjson.dumps(outcome.value) if isinstance(outcome, Result) else b""
        ran = Ran(task, began, self._clock.now(), outcome, json)
        self.ran[number].append(ran)
        self._bytes += ENTRY_BYTES + len(task.node) + len(task.task) + len(json)
        if isinstance(outcome, Result):
            self._outputs[task.node] = outcome.value
        return ran.plain

    def _arguments(self, task: workflow_pb2.Task) -> list[Any]:
        arguments = arguments_of(orjson.loads(task.arguments or b"[]"))
        output = self._outputs.__getitem__
        return [resolve(filled(argument, output), output) for argument in arguments]


def wanted(strands: Sequence[Strand]) -> tuple[list[Argument], set[str]]:
    """The arguments that the strands take, and the nodes that they make themselves."""
    tasks = [task for strand in strands for task in (strand.task, *strand.chain)]
    arguments = [argument for task in tasks for argument in arguments_of(orjson.loads(task.arguments or b"[]"))]
    return arguments, {task.node for task in tasks}
