# SPDX-License-Identifier: Apache-2.0
"""Tiny tasks are done together: recorded once, told once, and never twice where a task alone would not be."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

import nerv
from nerv.api.workflow.v1 import workflow_pb2
from nerv.protocols.queue import Claim, Done, NodeStatus, RunStatus
from nerv.workflows import Drawing, Result
from nerv_scheduler.fusing import Fusing
from nerv_scheduler.invoke import callees
from nerv_scheduler.record import Order, OrderKind
from tests.unit.scheduler.scheduler_in_memory import Noted, World, until

TINY = 0.0001
LEASE = 30.0  # a machine that is busy may stop a test for seconds, and nothing is to be taken over here
TARGET = 20.0  # nor is a quantum to end early, or a task to be thought slow
calls: list[str] = []


class Steady(Fusing):
    """Measures, and finds every task tiny: how long they take here depends on what else the machine does."""

    def note(self, task: str, seconds: float) -> None:
        """It has taken no time."""
        super().note(task, TINY)


def steady(app: nerv.App) -> World:
    """A world in which tasks are tiny."""
    world = World(app, LEASE)
    world.fusing = Steady(callees(app), TARGET)
    return world


def made(*, fails: int = 0, retries: int = 0, tiny: bool = True) -> World:
    """A world of tiny tasks: on the loop, in threads, with effects, and one that fails some times."""
    calls.clear()
    app = nerv.App("made")
    app.event("noted.v1", topic="made.noted.v1")(Noted)

    @app.task()
    async def add(number: int) -> int:
        calls.append(f"add {number}")
        return number + 1

    @app.task()
    def threaded(number: int) -> int:
        calls.append(f"threaded {number}")
        return number + 1

    @app.task()
    async def note(number: int) -> Result:
        calls.append(f"note {number}")
        return Result(number + 1, [nerv.append("thing-1", Noted(n=number))])

    @app.task(retries=retries)
    async def shaky(number: int) -> int:
        calls.append(f"shaky {number}")
        if sum(call.startswith("shaky") for call in calls) <= fails:
            raise ValueError("no")
        return number + 1

    @app.workflow("chain")
    def chain(w: Drawing, tasks: Sequence[str]) -> Any:
        last: Any = 0
        for task in tasks:
            last = w.call(task, last)
        return last

    @app.workflow("wide")
    def wide(w: Drawing, task: str, count: int) -> Any:
        return w.map(task, range(count))

    world = steady(app)
    for task in app.tasks if tiny else ():
        world.fusing.note(task, TINY)
    return world


async def ran(world: World, workflow: str, **given: Any) -> tuple[RunStatus, bytes, list[str]]:
    """How a run ends, what it returns, and its events."""
    await world.starter.start(workflow, given, "r1")
    async with world.replica():
        state = await world.ended("r1")
    return state.status, state.result, await world.types("r1")


@pytest.mark.parametrize("task", ["add", "threaded"])
async def test_a_chain_is_one_quantum(task: str) -> None:
    """Ten tasks one after the other are one event, on the loop as in a thread."""
    status, result, types = await ran(made(), "chain", tasks=[task] * 10)
    assert (status, result) == (RunStatus.COMPLETED, b"10")
    assert types == ["run.submitted", "quantum.completed", "run.completed"]
    assert calls == [f"{task} {n}" for n in range(10)]


@pytest.mark.parametrize("task", ["add", "threaded"])
async def test_tasks_side_by_side_share_quanta(task: str) -> None:
    """Forty tasks are recorded by a few events; each is done once."""
    status, result, types = await ran(made(), "wide", task=task, count=40)
    assert (status, result) == (RunStatus.COMPLETED, str(list(range(1, 41))).replace(" ", "").encode())
    assert types.count("quantum.completed") < 10
    assert len(calls) == 40


async def test_what_nobody_has_measured_stands_alone() -> None:
    """The first tasks of a kind are done alone, and measured; those that come after may share."""
    world = made(tiny=False)
    status, _, types = await ran(world, "chain", tasks=["add"] * 30)
    assert status is RunStatus.COMPLETED
    assert types[1] == "task.completed"
    assert "quantum.completed" in types


async def test_without_a_target_every_task_stands_alone() -> None:
    """A target of no time turns fusing off."""
    world = made()
    world.fusing.target = 0.0
    _, _, types = await ran(world, "chain", tasks=["add"] * 5)
    assert types.count("task.completed") == 5


async def test_effects_end_a_quantum() -> None:
    """What a task with effects has made is recorded with those before it; what follows waits until they are performed."""
    world = made()
    status, result, types = await ran(world, "chain", tasks=["add", "add", "note", "add", "add"])
    assert (status, result) == (RunStatus.COMPLETED, b"5")
    assert types == ["run.submitted", "quantum.completed", "task.effects-done", "quantum.completed", "run.completed"]
    assert [event.data for event in await world.stream("thing-1")] == [b'{"n":2}']
    assert calls == ["add 0", "add 1", "note 2", "add 3", "add 4"]


@pytest.mark.parametrize("tasks", [["shaky"], ["add", "add", "shaky", "add"]])
async def test_a_failure_in_a_quantum_is_an_attempt_like_any_other(tasks: list[str]) -> None:
    """Tried as often as its `retries` say and no more, at the head of a chain as in its middle."""
    status, _, _ = await ran(made(fails=2, retries=2), "chain", tasks=tasks)
    assert status is RunStatus.COMPLETED
    assert sum(call.startswith("shaky") for call in calls) == 3
    status, _, types = await ran(made(fails=1), "chain", tasks=tasks)
    assert status is RunStatus.FAILED
    assert sum(call.startswith("shaky") for call in calls) == 1
    assert types[-1] == "run.failed"
    status, _, _ = await ran(made(fails=9, retries=2), "chain", tasks=tasks)
    assert status is RunStatus.FAILED
    assert sum(call.startswith("shaky") for call in calls) == 3


async def test_a_quantum_that_history_has_is_not_done_again() -> None:
    """The queue is wiped after the quantum was recorded, and before it was told: nothing is called a second time."""
    world = made()
    complete = world.queue.complete

    async def wiped(done: Sequence[Done]) -> list[bool]:
        world.queue.complete = complete  # type: ignore[method-assign]
        world.queue.wipe()
        return await complete(done)

    world.queue.complete = wiped  # type: ignore[method-assign]
    status, result, types = await ran(world, "chain", tasks=["add"] * 6)
    assert (status, result) == (RunStatus.COMPLETED, b"6")
    assert types == ["run.submitted", "quantum.completed", "run.completed"]
    assert len(calls) == 6
    assert world.counts["stale"] == 1


async def test_a_quantum_that_comes_too_late_changes_nothing() -> None:
    """Another attempt was recorded while a quantum had stopped: what that one gave stands for all."""
    world = made()
    record, release = world.recorder.record, asyncio.Event()
    stopped: list[Any] = []

    async def stopping(run: str, event: Any) -> bool:
        if not stopped:
            stopped.append(event)
            world.queue.wipe()
            await release.wait()
        return await record(run, event)

    world.recorder.record = stopping  # type: ignore[method-assign]
    await world.starter.start("wide", {"task": "add", "count": 6}, "r1")
    async with world.replica("one"), world.replica("two"):
        state = await world.ended("r1")
        release.set()
        await until(lambda: world.counts["stale"] > 0)
    assert (state.status, state.result) == (RunStatus.COMPLETED, b"[1,2,3,4,5,6]")
    assert {node.status for node in state.nodes.values()} == {NodeStatus.COMPLETED}


async def test_a_chain_that_ends_with_much_is_recorded_in_parts() -> None:
    """No event holds what two tasks returned together: both are recorded all the same, and the run ends."""
    app = nerv.App("made")

    @app.task()
    async def half(number: int) -> str:
        return "x" * 90_000

    @app.task()
    async def large(text: str) -> str:
        return "y" * 200_000

    @app.task()
    async def size(text: str) -> int:
        return len(text)

    @app.workflow("w")
    def workflow(w: Drawing) -> Any:
        return w.call(size, w.call(large, w.call(half, 1)))

    world = steady(app)
    for task in app.tasks:
        world.fusing.note(task, TINY)
    status, result, _ = await ran(world, "w")
    assert (status, result) == (RunStatus.COMPLETED, b"200000")


async def test_a_quantum_ends_before_its_record_is_too_large() -> None:
    """Five hundred tasks with long names do not fit into one event: they are in several, and each is done once."""
    app, name, counted = nerv.App("made"), "n" * 200, []

    @app.task(name=name)
    async def tiny(number: int) -> int:
        counted.append(number)
        return number

    @app.workflow("w")
    def workflow(w: Drawing) -> Any:
        return w.map(name, range(500))

    world = steady(app)
    world.fusing.note(name, TINY)
    status, _, types = await ran(world, "w")
    assert (status, sorted(counted)) == (RunStatus.COMPLETED, list(range(500)))
    assert types.count("quantum.completed") >= 2


async def test_a_cancelled_run_stops_its_quantum() -> None:
    """What has not begun is given up; what was done is recorded."""
    world = made()
    app = world.app
    begun = asyncio.Event()

    @app.task()
    async def slow(number: int) -> int:
        begun.set()
        await asyncio.sleep(60)
        return number

    world = steady(app)
    world.fusing.note("slow", TINY)
    await world.starter.start("wide", {"task": "slow", "count": 20}, "r1")
    async with world.replica():
        await asyncio.wait_for(begun.wait(), 10)
        await world.steering.order("r1", Order("o1", OrderKind.CANCEL))
        state = await world.ended("r1")
    assert state.status is RunStatus.CANCELLED


async def test_a_thread_that_hangs_fails_its_task_alone() -> None:
    """In a quantum of threads one task takes longer than it may: it has failed, those before it are recorded."""
    app = nerv.App("made")
    free: list[bool] = []

    @app.task(timeout=0.3)
    def hang(number: int) -> int:
        while number == 3 and not free:
            time.sleep(0.01)
        return number

    @app.workflow("w")
    def workflow(w: Drawing) -> Any:
        return w.map(hang, range(6))

    world = steady(app)
    world.fusing.note("hang", TINY)
    try:
        status, _, types = await ran(world, "w")
    finally:
        free.append(True)
    assert status is RunStatus.FAILED
    assert "task.failed" in types


def test_claims_are_grouped_by_run_and_kind() -> None:
    """Of one run and as long as they last about the target together; unknown kinds, lost ones and those of ended runs alone."""
    world = made()
    fusing = Fusing(callees(world.app), 0.05)
    fusing.note("add", 0.001)

    def claim(run: str, task: str, **given: Any) -> Claim:
        message = workflow_pb2.Task(run=run, node=task, task=task).SerializeToString()
        return Claim(run, task, "1-0", "e", 1, message, **given)

    many = fusing.group([claim("r1", "add") for _ in range(120)], slots=1)
    assert sum(map(len, many)) == 120
    assert max(map(len, many)) <= 51
    spread = fusing.group([claim("r1", "add") for _ in range(80)], slots=4)
    assert [len(group) for group in spread] == [20, 20, 20, 20]
    assert len(fusing.group([claim(f"r{n}", "add") for n in range(5)], slots=1)) == 5
    odd = [claim("r1", "note"), claim("r1", "add", over=True), claim("r1", "add", losses=1), claim("r1", "gone")]
    assert [len(group) for group in fusing.group(odd, slots=1)] == [1, 1, 1, 1]
    assert (fusing.wanted(4), fusing.chain()) == (200, 49)
    chained = claim("r1", "note", chain=(("add", claim("r1", "add").message),))
    assert [strand.chain for strand in fusing.group([chained], slots=1)[0]] == [[]]
