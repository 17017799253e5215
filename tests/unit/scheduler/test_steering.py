# SPDX-License-Identifier: Apache-2.0
"""Runs that people steer, on queue and history in memory, worked on by real replicas."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import nerv
from nerv.errors import Conflict, IdConflict, NotFound, Unavailable, UnknownOutcome
from nerv.protocols.queue import NodeStatus, RunStatus
from nerv.workflows import Drawing, Output
from nerv_scheduler.record import Order, OrderKind
from tests.unit.scheduler.scheduler_in_memory import World, made, until

CANCEL, PAUSE = Order("c", OrderKind.CANCEL, "enough"), Order("p", OrderKind.PAUSE)
RESUME, RESTART = Order("r", OrderKind.RESUME), Order("a", OrderKind.RESTART)


def chain(first: Callable[..., Any], second: Callable[..., Any]) -> World:
    """A world whose workflow `w` calls one task after another."""
    app = nerv.App("made")
    app.task(name="first")(first)
    app.task(name="second")(second)

    @app.workflow("w")
    def workflow(w: Drawing) -> Output:
        return w.call("second", w.call("first"))

    return World(app)


async def test_a_paused_run_goes_on_after_a_wiped_queue_only_when_resumed() -> None:
    """The pause is in history: a queue that has lost everything still holds the run back."""
    begun, hold, seconds = asyncio.Event(), asyncio.Event(), []

    async def first() -> int:
        begun.set()
        await hold.wait()
        return 1

    async def second(n: int) -> int:
        seconds.append(n)
        return n + 1

    world = chain(first, second)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await begun.wait()
        await world.steering.order("r1", PAUSE)
        world.queue.wipe()
        hold.set()
        async with asyncio.timeout(20):
            while (state := await world.queue.show("r1")) is None or not _held(state.nodes):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (state.paused, seconds) == (True, [])
        await world.steering.order("r1", RESUME)
        state = await world.ended("r1")
    assert (state.result, state.paused, seconds) == (b"2", False, [1])


def _held(nodes: Any) -> bool:
    return any(node.status is NodeStatus.HELD for node in nodes.values())


async def test_a_cancelled_run_stops_the_task_that_is_called() -> None:
    """An async task is cancelled, what waits for it never begins, and the end says why."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def second(n: int) -> None:
        raise AssertionError("not to be run")

    world = chain(first, second)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await begun.wait()
        await world.steering.order("r1", CANCEL)
        state = await world.ended("r1")
    assert stopped.is_set()
    assert (state.status, state.error) == (RunStatus.CANCELLED, "cancelled: enough")
    assert state.nodes["first"].status is NodeStatus.CANCELLED
    assert await world.types("r1") == ["run.submitted", "run.cancel-ordered", "run.cancelled"]


async def test_a_cancelled_run_does_not_wait_for_a_thread() -> None:
    """A thread cannot be stopped: the run ends, what the thread gives is not heard, and it keeps its place until it ends."""
    begun, hold = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        hold.wait()

    world = made(work)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await until(begun.is_set)
        await world.steering.order("r1", CANCEL)
        assert (await world.ended("r1")).status is RunStatus.CANCELLED
        assert world.threads.running == 1
        hold.set()
        await until(lambda: world.threads.running == 0)


async def test_a_failed_run_is_restarted_where_it_failed() -> None:
    """The first task keeps its result, the second runs again, and the run completes; then it is restarted from the first."""
    calls: list[str] = []

    async def first() -> int:
        calls.append("first")
        return 1

    async def second(n: int) -> int:
        calls.append("second")
        if calls.count("second") == 1:
            raise RuntimeError("not yet")
        return n + 1

    world = chain(first, second)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        assert (await world.ended("r1")).status is RunStatus.FAILED
        await world.steering.order("r1", RESTART)
        assert (await world.ended("r1")).status is RunStatus.COMPLETED
        assert calls == ["first", "second", "second"]
        await world.steering.order("r1", Order("b", OrderKind.RESTART, steps=("first",)))
        state = await world.ended("r1")
    assert calls == ["first", "second", "second", "first", "second"]
    assert (state.status, state.result) == (RunStatus.COMPLETED, b"2")


async def test_a_restarted_run_survives_a_wiped_queue() -> None:
    """Its stream has an end and goes on after it: all the same it is put back."""
    fail, hold = [True], asyncio.Event()

    async def work() -> int:
        if fail.pop():
            raise RuntimeError("no")
        return 7

    world = made(work)
    fail.insert(0, False)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await world.ended("r1")
    await world.steering.order("r1", RESTART)
    world.queue.wipe()
    hold.set()
    async with world.replica():
        assert (await world.ended("r1")).result == b"7"


async def test_the_same_order_again_is_the_same_order() -> None:
    """Whatever has happened since; another order under its id is refused, and so is a run or a step that is not there."""

    async def work() -> int:
        return 1

    world = made(work)
    await world.starter.start("w", {}, "r1")
    await world.steering.order("r1", PAUSE)
    await world.steering.order("r1", RESUME)
    assert not (await world.steering.order("r1", PAUSE)).paused
    assert await world.types("r1") == ["run.submitted", "run.paused", "run.resumed"]
    with pytest.raises(IdConflict, match="was to pause"):
        await world.steering.order("r1", Order("p", OrderKind.CANCEL))
    with pytest.raises(NotFound, match="no run"):
        await world.steering.order("nobody", PAUSE)
    with pytest.raises(NotFound, match="no step"):
        await world.steering.order("r1", Order("x", OrderKind.RESTART, steps=("nowhere",)))
    async with world.replica():
        await world.ended("r1")
    with pytest.raises(Conflict, match="has ended"):
        await world.steering.order("r1", Order("late", OrderKind.PAUSE))
    assert "run.cancel-ordered" not in await world.types("r1")


async def test_an_order_that_was_not_recorded_did_not_happen() -> None:
    """History is away: Unavailable, and the run goes on as it was."""

    async def work() -> int:
        return 1

    world = made(work)
    await world.starter.start("w", {}, "r1")
    world.history.failures.append(lambda request: True)
    with pytest.raises(Unavailable):
        await world.steering.order("r1", PAUSE)
    async with world.replica():
        assert (await world.ended("r1")).status is RunStatus.COMPLETED


async def test_a_recorded_order_is_carried_out_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The door dies between history and queue: the caller hears that it is unknown, and whoever takes the intention obeys."""
    monkeypatch.setattr("nerv_scheduler.steering.INTENT_SECONDS", 0.05)

    async def work() -> int:
        await asyncio.Event().wait()
        return 1

    world = made(work)
    await world.starter.start("w", {}, "r1")

    async def dying(run: str, *, at_ms: int = 0) -> bool:
        raise Unavailable("the door died")

    restore, world.recovery.restore = world.recovery.restore, dying  # type: ignore[method-assign]  # the fault
    with pytest.raises(UnknownOutcome, match="repeat it with its id c"):
        await world.steering.order("r1", CANCEL)
    world.recovery.restore = restore  # type: ignore[method-assign]
    async with world.replica():
        assert (await world.ended("r1")).status is RunStatus.CANCELLED
