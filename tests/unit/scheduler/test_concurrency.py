# SPDX-License-Identifier: Apache-2.0
"""Concurrency keys and priorities of tasks, with two replicas on a queue in memory."""

import asyncio
from collections import Counter
from typing import Any

import pytest

import nerv
from nerv.errors import Misconfigured
from nerv.protocols.queue import Priority, RunStatus
from nerv.testing.memory_queue import MemoryQueue
from nerv.workflows import Concurrency, Dag, Drawing, Output
from nerv_scheduler.invoke import callees
from nerv_scheduler.runs import Recovery
from tests.unit.scheduler.scheduler_in_memory import FAST, World, until

PLACES = 2
LEASE = FAST.lease_seconds


class Timed(World):
    """A world whose queue has a time of its own: on a busy machine, too, leases run out when they are to."""

    def __init__(self, app: nerv.App) -> None:
        self.at = 0.0
        super().__init__(app)
        self.replace_queue(MemoryQueue(lease=LEASE, now=lambda: self.at))

    async def admit(self) -> None:
        """Nothing was lost, and places are given from now on."""
        await self.queue.mark_intact({})
        self.at += LEASE


class Busy:
    """Customers who are served once the gate is open, never more than so many at once of each."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.gate = asyncio.Event()
        app = nerv.App("busy")

        @app.task(concurrency=Concurrency("customer", most=PLACES))
        async def serve(number: int, customer: str) -> int:
            self.now[customer] += 1
            self.most[customer] = max(self.most[customer], self.now[customer])
            try:
                await self.gate.wait()
                await asyncio.sleep(0.001)
            finally:
                self.now[customer] -= 1
            self.served[customer] += 1
            return number

        @app.workflow("both")
        def both(w: Drawing) -> Any:
            return [*w.map(serve, range(10), "a"), *w.map(serve, range(10), "b")]

        self.world = Timed(app)

    @property
    def full(self) -> bool:
        """Whether all places are taken."""
        return self.now == {"a": PLACES, "b": PLACES}


async def test_of_each_key_there_are_so_many_at_once() -> None:
    """Two replicas with room for eight tasks: of each customer two at a time, of both together more; all are served once."""
    busy = Busy()
    await busy.world.admit()
    async with busy.world.replica("one"), busy.world.replica("two"):
        await busy.world.starter.start("both", {}, "r1")
        await busy.world.starter.start("both", {}, "r2")
        await until(lambda: busy.full)
        busy.gate.set()
        for run in ("r1", "r2"):
            state = await busy.world.ended(run)
            assert state.status is RunStatus.COMPLETED
            assert {node.attempt for node in state.nodes.values()} == {1}
    assert busy.most == {"a": PLACES, "b": PLACES}
    assert busy.served == {"a": 20, "b": 20}
    assert (await busy.world.types("r1")).count("task.completed") == 20


async def test_the_bound_holds_over_a_flush() -> None:
    """Redis is wiped in the middle: those at work then are still counted, for nobody else is let in before they are gone."""
    busy = Busy()
    await busy.world.admit()
    async with busy.world.replica("one"), busy.world.replica("two"):
        await busy.world.starter.start("both", {}, "r1")
        await until(lambda: busy.full)
        busy.world.queue.wipe()
        # They hear that they have lost their places; the others ask for one, and get none for a lease.
        await until(lambda: not any(busy.now.values()))
        busy.gate.set()
        assert not busy.served
        await busy.world.recovery.restore_all()  # as the replicas do: the queue is whole when this returns
        busy.world.at += LEASE
        assert (await busy.world.ended("r1")).status is RunStatus.COMPLETED
    assert busy.most == {"a": PLACES, "b": PLACES}


async def test_a_key_must_be_a_parameter_and_a_plain_value() -> None:
    """The first is looked at when the replica starts; the second fails the task, and says which value it was."""
    app = nerv.App("made")
    app.task(name="work", concurrency=Concurrency("customer"))(lambda order: order)
    with pytest.raises(Misconfigured, match="customer"):
        callees(app)
    with pytest.raises(Misconfigured, match="1 to"):
        Concurrency(most=0)
    app = nerv.App("made")
    app.task(name="work", concurrency=Concurrency("order"))(lambda order: order)
    app.workflow("w")(lambda w: w.call("work", {"n": 1}))
    world = World(app)
    async with world.replica():
        await world.starter.start("w", {}, "r1")
        state = await world.ended("r1")
    assert "a text or a whole number" in state.error


async def test_priorities_of_tasks_and_runs_are_drawn_and_recorded() -> None:
    """A task's own, or else its workflow's; a run that is put back from history has the same."""
    app = nerv.App("made")
    app.task(name="urgent", priority="high")(lambda: 1)
    app.task(name="plain")(lambda: 1)

    @app.workflow("w", priority="low")
    def workflow(w: Drawing) -> Output:
        return w.call("plain", after=w.call("urgent"))

    with pytest.raises(Misconfigured, match="high, normal or low"):
        app.task(name="wrong", priority="highest")(lambda: 1)  # type: ignore[arg-type]
    world = World(app)
    await world.starter.start("w", {}, "r1")
    record = await world.recorder.read("r1")
    assert record.priority is Priority.LOW
    assert [node.priority for node in record.dag.nodes.values()] == [Priority.HIGH, None]
    assert Dag.decode(record.dag.encode()) == record.dag
    world.queue.wipe()
    assert isinstance(world.recovery, Recovery)
    assert await world.recovery.restore("r1")
    [claim] = (await world.queue.take("one", 10, 1.0)).claims
    assert claim.node == "urgent"
    async with world.replica():
        await world.queue.release(claim)
        assert (await world.ended("r1")).status is RunStatus.COMPLETED


async def test_an_urgent_run_passes_one_that_is_not() -> None:
    """Both are ready; one place: the urgent one's tasks are done first."""
    done: list[str] = []
    app = nerv.App("made")

    @app.task(concurrency=Concurrency())
    async def work(name: str) -> str:
        done.append(name)
        return name

    app.workflow("slow", priority="low")(lambda w: w.map(work, ["low"] * 5))
    app.workflow("fast", priority="high")(lambda w: w.map(work, ["high"] * 5))
    world = Timed(app)
    await world.admit()
    await world.starter.start("slow", {}, "r1")
    await world.starter.start("fast", {}, "r2")
    async with world.replica():
        await world.ended("r1")
        await world.ended("r2")
    assert done == ["high"] * 5 + ["low"] * 5
