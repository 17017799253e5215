# SPDX-License-Identifier: Apache-2.0
"""Runs that wait, decide and expand, on queue and history in memory, worked on by real replicas."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

import nerv
from nerv.errors import Conflict, IdConflict, NotFound, Unavailable
from nerv.protocols.queue import NodeStatus, RunStatus
from nerv.workflows import Drawing, Many, Output
from nerv_scheduler.fusing import Fusing
from nerv_scheduler.invoke import callees
from nerv_scheduler.model import fold, plan
from nerv_scheduler.record import Order, OrderKind, RunRecord, Signal
from tests.unit.scheduler.scheduler_in_memory import World


def drawn(function: Any, *tasks: Any, deadline: float | None = None) -> World:
    """A world whose workflow `w` is drawn by a function, with some tasks."""
    app = nerv.App("made")
    for task in tasks:
        app.task(retries=3)(task)
    app.workflow("w", deadline=deadline)(function)
    return World(app)


async def reached(world: World, run: str, *kinds: str) -> RunRecord:
    """The record of a run, once the last events of its stream are of these types."""
    async with asyncio.timeout(20):
        while (await world.types(run))[-len(kinds) :] != list(kinds):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return await world.recorder.read(run)


async def parked(world: World, run: str) -> None:
    """Return when a run costs nothing but what wakes it."""
    async with asyncio.timeout(20):
        while await world.queue.show(run) is not None or not (await world.queue.known([run]))[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def numbers(count: int) -> list[int]:
    """A list whose length is known when it is there."""
    return list(range(count))


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


def total(parts: list[int | None]) -> int:
    """The sum of what is there."""
    return sum(part for part in parts if part is not None)


async def test_what_comes_after_a_map_comes_after_its_items() -> None:
    """Also where it is given nothing of what they return; a wait is no other than a task."""
    done: list[int] = []

    def noted(number: int) -> None:
        done.append(number)

    def count() -> int:
        return len(done)

    def w(w: Drawing) -> Output:
        return w.call("count", after=w.sleep(0.01, after=w.map("noted", w.call("numbers", 3))))

    world = drawn(w, numbers, noted, count)
    async with world.replica():
        await world.starter.start("w", {}, "r1")
        assert (await world.ended("r1")).result == b"3"
    record = await world.recorder.read("r1")
    assert record.dag.nodes["sleep"].after == ("noted", "noted[0]", "noted[1]", "noted[2]")


async def test_a_map_expands_over_a_list_that_a_task_returns() -> None:
    """As many nodes as it has items, recorded before any of them begins; the join waits for all of them."""

    def w(w: Drawing, count: int) -> Output:
        return w.call(total, w.map(double, w.call(numbers, count)))

    world = drawn(w, numbers, double, total)
    for count in (0, 1, 5):
        await world.starter.start("w", {"count": count}, f"r{count}")
    async with world.replica(), world.replica("two"):
        states = {count: await world.ended(f"r{count}") for count in (0, 1, 5)}
    assert {count: state.result for count, state in states.items()} == {0: b"0", 1: b"0", 5: b"20"}
    assert list(states[5].nodes) == ["numbers", "double", *(f"double[{i}]" for i in range(5)), "total"]
    assert (await world.types("r5"))[2] == "map.expanded"
    # Where a replica is slow, some of them are done together, and recorded by one event: how many events there are is open.
    record = await world.recorder.read("r5")
    assert [record.node(f"double[{i}]").result for i in range(5)] == [0, 2, 4, 6, 8]


async def test_a_map_goes_over_what_another_map_returned() -> None:
    """Which is a list that is known only then, too; the run returns the list of all."""

    def w(w: Drawing) -> Many:
        return w.map(double, w.map(double, w.call(numbers, 3)))

    world = drawn(w, numbers, double)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        state = await world.ended("r1")
    assert (state.status, state.result) == (RunStatus.COMPLETED, b"[0,4,8]")


async def test_an_expanded_map_survives_a_wiped_queue() -> None:
    """The queue is lost while its items run: the rest is done, and what has a result is not run again."""
    gate, calls = asyncio.Event(), []

    async def slow(number: int) -> int:
        calls.append(number)
        if number:
            await gate.wait()
        return number

    def w(w: Drawing) -> Output:
        return w.call(total, w.map(slow, w.call(numbers, 3)))

    world = drawn(w, numbers, slow, total)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        record = await reached(world, "r1", "map.expanded", "task.completed")
        assert record.node("slow[0]").result == 0
        world.queue.wipe()
        gate.set()
        state = await world.ended("r1")
    assert (state.result, calls.count(0)) == (b"3", 1)
    assert (await world.types("r1")).count("map.expanded") == 1


async def test_the_limit_of_nodes_holds_for_maps_too() -> None:
    """A list that is too long, or none at all, fails the run and says so; nothing of the map is begun."""

    def w(w: Drawing, count: int) -> Many:
        return w.map(double, w.call(numbers, count) if count else w.call(total, []))

    world = drawn(w, numbers, double, total)
    await world.starter.start("w", {"count": 99}, "r1")
    await world.starter.start("w", {"count": 0}, "r2")
    async with world.replica():
        long, none = await world.ended("r1"), await world.ended("r2")
    assert (long.status, list(long.nodes)) == (RunStatus.FAILED, ["numbers", "double"])
    assert "the limit is 100" in long.error
    assert none.error == "double: it maps over what is no list: 0"


async def test_only_the_branch_that_is_taken_is_done() -> None:
    """The other is skipped, with all that is drawn in it; a join sees None for it, `first` passes over it."""
    seen: list[Any] = []

    def see(value: Any) -> Any:
        seen.append(value)
        return value

    def w(w: Drawing, number: int) -> Output:
        small = w.when(w.call(see, number), equals=1)
        with small:
            one = w.call(double, 50)
        with small.otherwise():
            inner = w.when(w.call(double, number))
            with inner:
                other = w.call(double, number, after=[one])
        return w.call(see, w.first(one, other), after=[w.call(total, [one, other])])

    world = drawn(w, see, double, total)
    for number in (1, 3, 0):
        await world.starter.start("w", {"number": number}, f"r{number}")
    async with world.replica():
        states = {number: await world.ended(f"r{number}") for number in (1, 3, 0)}
    assert {number: state.result for number, state in states.items()} == {1: b"100", 3: b"6", 0: b"null"}
    assert {name: node.status.value for name, node in states[1].nodes.items()} == {
        "see": "completed",
        "when": "completed",
        "double": "completed",
        "double#2": "skipped",
        "when#2": "skipped",
        "double#3": "skipped",
        "total": "completed",
        "see#2": "completed",
    }
    assert sorted(map(str, seen)) == ["0", "1", "100", "3", "6", "None"]


async def test_a_sleeping_run_costs_nothing_and_wakes_by_itself() -> None:
    """It is parked while it sleeps; when it is due it goes on, also when the queue was lost meanwhile."""

    def w(w: Drawing) -> Output:
        return w.call(double, 4, after=w.sleep(0.3))

    world = drawn(w, double)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await parked(world, "r1")
        assert await world.queue.status("r1") is RunStatus.RUNNING
        world.queue.wipe()
        state = await world.ended("r1")
    assert state.result == b"8"
    assert await world.types("r1") == ["run.submitted", "wait.opened", "wait.ended", "task.completed", "run.completed"]
    record = await world.recorder.read("r1")
    wait = record.node("sleep").wait
    assert wait is not None
    assert wait.due is not None
    assert wait.due <= (record.node("sleep").ended or record.started)


async def test_a_sleep_beside_work_does_not_hold_it_up() -> None:
    """What runs beside it ends; then the run is parked until the sleep is over."""

    def w(w: Drawing) -> Output:
        return w.call(total, [w.call(double, 1), w.call(double, 2)], after=w.sleep(0.5))

    world = drawn(w, double, total)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await parked(world, "r1")
        record = await world.recorder.read("r1")
        assert record.node("double#2").result == 4
        assert (await world.ended("r1")).result == b"6"


def approved(w: Drawing) -> Output:
    """Waits for two signals of one name."""
    first = w.signal("approve")
    second = w.signal("approve", after=first)
    return w.call(total, [first, second])


async def test_signals_are_taken_in_their_order_each_by_one_wait() -> None:
    """One comes before its wait is reached, the other after; each once, although one is sent twice."""
    world = drawn(approved, total)
    await world.starter.start("w", {}, "r1")
    await world.steering.signal("r1", Signal("a", "approve", 1))
    async with world.replica(), world.replica("two"):
        await reached(world, "r1", "wait.opened", "wait.ended", "wait.opened")
        await parked(world, "r1")
        await world.steering.signal("r1", Signal("a", "approve", 1))
        assert (await world.queue.known(["r1"]))[0]
        await world.steering.signal("r1", Signal("b", "approve", 10))
        state = await world.ended("r1")
    assert state.result == b"11"
    assert (await world.types("r1")).count("signal.received") == 2


async def test_signals_that_cannot_be_are_refused() -> None:
    """An unknown run, an unknown name, the id of another signal, an ended run: each says why."""
    world = drawn(approved, total)
    await world.starter.start("w", {}, "r1")
    await world.steering.signal("r1", Signal("a", "approve", 1))
    with pytest.raises(NotFound, match="no run"):
        await world.steering.signal("nobody", Signal("a", "approve"))
    with pytest.raises(NotFound, match="waits for no signal 'aprove'; it has approve"):
        await world.steering.signal("r1", Signal("x", "aprove"))
    with pytest.raises(IdConflict, match="another payload"):
        await world.steering.signal("r1", Signal("a", "approve", 2))
    async with world.replica():
        await world.steering.signal("r1", Signal("b", "approve", 1))
        await world.ended("r1")
    with pytest.raises(Conflict, match="has ended"):
        await world.steering.signal("r1", Signal("c", "approve"))


async def test_a_signal_whose_sender_died_is_delivered() -> None:
    """Recorded, and then nothing: whoever takes the intention tells the queue of it."""
    world = drawn(lambda w: w.signal("go"))
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await parked(world, "r1")
        real = world.queue.start

        async def dies(*args: Any, **kwargs: Any) -> bool:
            raise Unavailable("the process is gone")

        world.queue.start = dies  # type: ignore[method-assign]
        with pytest.raises(nerv.errors.UnknownOutcome):
            await world.steering.signal("r1", Signal("a", "go", "now"))
        world.queue.start = real  # type: ignore[method-assign]
        await world.queue.intend("r1", 0.0, order=True)  # as the one that was made, forty seconds later
        state = await world.ended("r1")
    assert state.result == b'"now"'


async def test_a_wait_for_a_signal_ends_by_its_time() -> None:
    """Its output is None then, and a signal that comes later is for the next wait of the name."""

    def w(w: Drawing) -> Output:
        first = w.signal("go", within=0.2)
        return w.call(total, [first, w.signal("go", after=first)])

    world = drawn(w, total)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await reached(world, "r1", "wait.opened", "wait.ended", "wait.opened")
        await world.steering.signal("r1", Signal("a", "go", 7))
        assert (await world.ended("r1")).result == b"7"


async def test_a_run_ends_by_its_deadline() -> None:
    """Whether it sleeps or works; the run has failed, and says why."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    def w(w: Drawing, works: bool) -> Output:
        return w.call(hang) if works else w.sleep(3600)

    world = drawn(w, hang, deadline=0.5)
    for works in (True, False):
        await world.starter.start("w", {"works": works}, f"r{works}")
    async with world.replica():
        states = [await world.ended(f"r{works}") for works in (True, False)]
    assert stopped.is_set()
    assert [state.status for state in states] == [RunStatus.FAILED] * 2
    assert all(state.error.startswith("its deadline of 0.5 s passed at 20") for state in states)
    assert await world.types("rFalse") == ["run.submitted", "wait.opened", "run.deadline-passed", "run.failed"]


async def test_sleeping_runs_are_cancelled_and_restarted() -> None:
    """A parked run is cancelled at once; restarted, it sleeps anew; paused, it is held when it is due."""

    def w(w: Drawing) -> Output:
        return w.call(double, 1, after=w.sleep(0.4))

    world = drawn(w, double)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await parked(world, "r1")
        await world.steering.order("r1", Order("c", OrderKind.CANCEL))
        assert (await world.ended("r1")).status is RunStatus.CANCELLED
        await world.steering.order("r1", Order("a", OrderKind.RESTART))
        await reached(world, "r1", "run.restarted", "wait.opened")
        await world.steering.order("r1", Order("p", OrderKind.PAUSE))
        async with asyncio.timeout(20):
            while True:
                state = await world.queue.show("r1")
                if state is not None and state.nodes["sleep"].status is NodeStatus.HELD:
                    break
                await asyncio.sleep(0.01)
        await world.steering.order("r1", Order("r", OrderKind.RESUME))
        assert (await world.ended("r1")).result == b"2"


async def test_a_sleeping_node_is_given_up_when_its_run_fails() -> None:
    """The run does not wait for it."""

    def fail() -> None:
        raise nerv.workflows.PermanentError("no")

    def w(w: Drawing) -> Output:
        w.sleep(3600)
        return w.call(fail, after=w.sleep(0.2))

    world = drawn(w, fail)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        state = await world.ended("r1")
    assert (state.status, state.nodes["sleep"].status) == (RunStatus.FAILED, NodeStatus.CANCELLED)


async def test_an_expanded_map_is_restarted_from_its_list() -> None:
    """The list is shorter then, and so is the map; restarted from one item, the others keep their results."""
    counts, calls = [3, 2], []

    def some() -> list[int]:
        return list(range(counts.pop(0)))

    def note(number: int) -> int:
        calls.append(number)
        return number

    def w(w: Drawing) -> Output:
        return w.call(total, w.map(note, w.call(some)))

    world = drawn(w, some, note, total)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        assert (await world.ended("r1")).result == b"3"
        await world.steering.order("r1", Order("a", OrderKind.RESTART, steps=("some",)))
        assert (await world.ended("r1")).result == b"1"
        await world.steering.order("r1", Order("b", OrderKind.RESTART, steps=("note[1]",)))
        assert (await world.ended("r1")).result == b"1"
    assert calls == [0, 1, 2, 0, 1, 1]


async def test_a_task_is_not_tried_again_past_its_deadline() -> None:
    """It has many retries left, and time for some of them."""
    calls: list[int] = []
    app = nerv.App("made")

    @app.task(retries=1000, deadline=0.3)
    def work() -> None:
        calls.append(1)
        raise ValueError("no")

    app.workflow("w")(lambda w: w.call(work))
    world = World(app)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        state = await world.ended("r1")
    assert (state.status, state.error) == (RunStatus.FAILED, "work: ValueError: no")
    assert 1 < len(calls) < 1000


async def test_what_was_done_in_a_map_is_found_done() -> None:
    """A run is put back as it was before its map was expanded: no item is done again, and all take the same results."""
    calls: list[int] = []

    async def counted(number: int) -> int:
        calls.append(number)
        return 100 * len(calls) + number

    def w(w: Drawing) -> Output:
        made = w.map("counted", w.call("numbers", 4))
        return w.call("total", made, after=w.signal("go", after=made))

    world = drawn(w, numbers, counted, total)
    world.fusing = Fusing(callees(world.app), 20.0)
    world.fusing.note("counted", 0.0001)
    async with world.replica():
        await world.starter.start("w", {}, "r1")
        await parked(world, "r1")
        events = await world.stream("run-r1")
        at = next(i for i, event in enumerate(events) if event.type == "nerv.map.expanded.v1")
        known = await world.recorder.read("r1")
        await world.queue.start(plan(fold("r1", events[:at]), datetime.now(UTC)), restore=True)
        await parked(world, "r1")
        await world.steering.signal("r1", Signal("s1", "go"))
        state = await world.ended("r1")
    assert sorted(calls) == [0, 1, 2, 3]
    assert state.result == str(sum(known.node(f"counted[{i}]").result for i in range(4))).encode()
