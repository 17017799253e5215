# SPDX-License-Identifier: Apache-2.0
"""How long what a quantum has not begun waits for the task that is called."""

import time

import pytest

import nerv
from nerv.api.workflow.v1 import workflow_pb2
from nerv.clock import SystemClock
from nerv.protocols.queue import Claim
from nerv_scheduler.course import Course, asked
from nerv_scheduler.fusing import Fusing, Strand
from nerv_scheduler.invoke import callees

TARGET = 1000.0  # so long that no machine is too slow for it


def course(known: float) -> Course:
    """Two tasks of a kind that was found to take so many seconds."""
    app = nerv.App("made")
    app.task(name="work")(lambda: 1)
    fusing = Fusing(callees(app), TARGET)
    fusing.note("work", known)
    strands = [
        Strand(Claim("r", f"work[{i}]", f"n{i}-0", "epoch", 1), workflow_pb2.Task(node=f"work[{i}]", task="work"))
        for i in range(2)
    ]
    return Course(strands, asked(strands), {}, callees(app), SystemClock(), fusing)


def test_nothing_waits_long_for_a_task_that_was_thought_tiny() -> None:
    """A quarter of a target is no tiny task's time; before any is called the next look is when the target is over."""
    made = course(known=0.001)
    assert 0.9 * TARGET < made.patience() <= 1.1 * TARGET
    made.next(None)
    assert 0 < made.patience() <= TARGET / 4


def test_a_task_may_take_some_times_as_long_as_it_did() -> None:
    """Eight times as long is an outlier, of one that takes a tenth of a target; and the next look is when the target is over."""
    made = course(known=TARGET / 10)
    made.next(None)
    assert TARGET / 4 < made.patience() <= 0.8 * TARGET
    made = course(known=TARGET / 2)
    made.next(None)
    assert 0.8 * TARGET < made.patience() <= 1.1 * TARGET


def test_what_will_find_no_time_does_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a quantum has lasted its target, and each task is known by now to take longer than what is left of its time."""
    made = course(known=1.5 * TARGET)
    made.next(None)
    assert made.patience() > 0
    now = time.perf_counter()
    monkeypatch.setattr(time, "perf_counter", lambda: now + 1.1 * TARGET)
    assert made.patience() == 0
