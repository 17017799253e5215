# SPDX-License-Identifier: Apache-2.0
"""What must hold though clocks differ, leases are lost beside others, and ids look alike."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import nerv
from nerv.client import Client
from nerv.clock import SystemClock
from nerv.protocols.queue import Claim, Done, RunStatus, TaskQueue
from nerv.testing.clock import ManualClock
from nerv.testing.memory_queue import MemoryQueue
from nerv.workflows import Drawing, Result
from nerv_scheduler.effects import Performer
from nerv_scheduler.events import RunEvents
from nerv_scheduler.keeper import Keeper
from nerv_scheduler.open_runs import OpenRuns
from nerv_scheduler.quantum import Quanta
from tests.unit.scheduler.scheduler_in_memory import Noted, World, made, until

EVENTS = RunEvents("t.scheduler", "r1", "one")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def claimed(node: str, turn: int = 0, nonce: str = "n1") -> Claim:
    """A claim of a first attempt."""
    return Claim("r1", node, "n1-0", "e", 1, round=turn, nonce=nonce)


def test_quanta_of_tasks_that_are_named_by_digits_have_ids_of_their_own() -> None:
    """`a` with `1` is not `a` after one restart; nor is a quantum of one node the node alone."""
    found = [
        EVENTS.quantum(NOON, [claimed("a"), claimed("1")], []).id,
        EVENTS.quantum(NOON, [claimed("a", 1)], []).id,
        EVENTS.quantum(NOON, [claimed("a")], []).id,
        EVENTS.completed(NOON, claimed("a"), "a", 1, [], began=NOON).id,
        EVENTS.completed(NOON, claimed("a", 1), "a", 1, [], began=NOON).id,
    ]
    assert len(set(found)) == len(found)


def test_failed_attempts_are_told_apart_though_their_number_was_forgotten() -> None:
    """Two first attempts, the queue having lost that there was one: both failures are recorded."""
    first = EVENTS.attempt_failed(NOON, claimed("a", nonce="n1"), "a", "no")
    second = EVENTS.attempt_failed(NOON, claimed("a", nonce="n2"), "a", "no")
    assert first.id != second.id


class Behind(SystemClock):
    """A clock that is an hour behind that of the queue."""

    def now(self) -> datetime:
        """As it shows."""
        return super().now() - timedelta(hours=1)


async def test_a_clock_that_is_behind_does_not_keep_what_is_due() -> None:
    """The queue has woken a sleeping node: it ends at once, and is not put to sleep again until the slower clock agrees."""
    app = nerv.App("made")
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    app.workflow("w")(lambda w: w.sleep_until(soon))
    world = World(app, clock=Behind())
    async with world.replica():
        await world.starter.start("w", {}, "r1")
        assert (await world.ended("r1")).status is RunStatus.COMPLETED
    assert await world.types("r1") == ["run.submitted", "wait.opened", "wait.ended", "run.completed"]


async def test_a_deadline_that_has_passed_by_the_clock_of_the_queue_has_passed() -> None:
    """A replica whose clock is behind ends the run, too, instead of putting it back again and again."""
    app = nerv.App("made")
    app.workflow("w", deadline=3600.2)(lambda w: w.signal("go"))
    world = World(app, clock=Behind())
    async with world.replica():
        await world.starter.start("w", {}, "r1")
        assert (await world.ended("r1")).status is RunStatus.FAILED


async def test_the_thread_that_renews_leases_does_not_end_unnoticed() -> None:
    """What is no error of a server ends it, and is told to who ends the service."""

    class Broken(MemoryQueue):
        async def renew(self, worker: str, claims: Sequence[Claim]) -> list[Claim]:
            raise RuntimeError("a bug")

    @asynccontextmanager
    async def opened() -> AsyncIterator[TaskQueue]:
        yield Broken()

    keeper = Keeper(opened, "one", 0.03)
    keeper.crashed = asyncio.get_running_loop().create_future()
    async with keeper, asyncio.timeout(30):
        with pytest.raises(RuntimeError, match="a bug"):
            await keeper.crashed


async def test_one_lost_node_of_a_quantum_keeps_none_of_the_others_from_its_due() -> None:
    """Three that have effects are gone on with alone; the second is another replica's: the third is told all the same."""
    app = nerv.App("made")
    app.event("noted.v1", topic="made.noted.v1")(Noted)

    @app.task()
    async def note(number: int) -> Result:
        return Result(number, [nerv.append("thing-1", Noted(n=number))])

    @app.workflow("w")
    def workflow(w: Drawing) -> Any:
        return w.map(note, [0, 1, 2])

    world = World(app, lease=30.0)
    for _ in range(10):
        world.fusing.note("note", 0.0001)
    await world.starter.start("w", {}, "r1")
    async with world.attempts("one") as attempts:
        await world.queue.mark_intact({})
        claims = (await world.queue.take("one", 10, 1.0)).claims
        [strands] = world.fusing.group(claims, slots=1)
        world.queue._runs["r1"].nodes["note[1]"].nonce = "another's"
        await Quanta(attempts).perform(strands, _none_left, lambda: None)
    state = await world.queue.show("r1")
    assert state is not None
    assert [state.nodes[f"note[{i}]"].status.value for i in range(3)] == ["completed", "running", "completed"]


async def _none_left(strands: Sequence[Any]) -> None:
    assert not strands


async def test_what_was_performed_before_an_effect_that_is_owed_is_not_owed_itself() -> None:
    """A publish, and a call that its target refuses for more than a day: the publish is not performed again, nor parked."""
    app = nerv.App("made")
    app.event("noted.v1", topic="made.noted.v1")(Noted)

    @app.task()
    async def both() -> Result:
        return Result(1, [nerv.publish(Noted(n=1)), nerv.append("thing-1", Noted(n=2))])

    app.workflow("w")(lambda w: w.call("both"))
    world = World(app)
    clock, published = ManualClock(), list[str]()

    class Slow(Performer):
        async def _publish(self, topic: str, event: Any) -> None:
            await super()._publish(topic, event) if clock.now() > began + timedelta(hours=23) else published.append(
                topic
            )

    began = clock.now()
    world.history.failures += [lambda request: request.stream == "thing-1"] * 3
    performer = Slow(world.history, Client({}), world.starter, clock)
    async with world.replica(performer=performer):
        await world.starter.start("w", {}, "r1")
        await until(lambda: bool(published))
        clock.advance(24 * 3600)
        assert (await world.ended("r1")).status is RunStatus.COMPLETED
    assert published == ["made.noted.v1"]
    assert len(await world.stream("thing-1")) == 1
    assert "task.effects-performed" in await world.types("r1")


async def test_a_completion_that_was_not_looked_up_is_refused_and_comes_again() -> None:
    """The queue may have forgotten something, and takes no first attempt at its word: who comes next finds it in history."""
    calls: list[int] = []

    def work() -> int:
        calls.append(1)
        return len(calls)

    world = made(work)
    doubting = True

    class Doubting(MemoryQueue):
        async def complete(self, done: Sequence[Done]) -> list[bool]:
            return [bool(not doubting or one.looked) and await self._taken(one) for one in done]

        async def _taken(self, one: Done) -> bool:
            return (await super().complete([one]))[0]

    world.replace_queue(Doubting(lease=30.0))
    async with world.replica():
        await world.starter.start("w", {}, "r1")
        assert (await world.ended("r1")).result == b"1"
    assert calls == [1]
    assert (await world.types("r1")).count("task.completed") == 1


class Counting(OpenRuns):
    """Follows, and counts what it had to read."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.read = 0

    def _note(self, event: Any) -> None:
        self.read += 1
        super()._note(event)


async def test_a_replica_that_starts_reads_open_runs_and_not_all_there_ever_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of many runs that have ended, and some that have not, it reads what was written down, and what came since."""
    monkeypatch.setattr("nerv_scheduler.open_runs.LEAST", 20)
    monkeypatch.setattr("nerv_scheduler.open_runs.PART", 2)
    monkeypatch.setattr("nerv_scheduler.open_runs.OVERLAP", timedelta(0))
    app = nerv.App("made")
    app.task(name="work")(lambda: 1)
    app.workflow("w")(lambda w: w.call("work"))
    app.workflow("waits")(lambda w: w.signal("go"))
    world = World(app)
    async with world.replica():
        for number in range(30):
            await world.starter.start("w", {}, f"done-{number}")
            await world.ended(f"done-{number}")
        for number in range(5):
            await world.starter.start("waits", {}, f"open-{number}")
    everything = Counting(world.history, SystemClock(), "t.scheduler")
    open_runs = {f"open-{number}" for number in range(5)}
    assert set(await everything.follow()) == open_runs
    assert everything.read == 65
    await world.starter.start("waits", {}, "open-5")
    later = Counting(world.history, SystemClock(), "t.scheduler")
    assert set(await later.follow()) == open_runs | {"open-5"}
    assert later.read <= 2  # the new one, and the last that the list had seen
    listed = await later.latest()
    assert set(listed["waits"]) == open_runs | {"open-5"}
    assert len(listed["w"]) == 30


async def test_a_list_of_open_runs_that_is_not_whole_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wrote it died in the middle: the one before it counts, and nothing is missing."""
    monkeypatch.setattr("nerv_scheduler.open_runs.LEAST", 4)
    monkeypatch.setattr("nerv_scheduler.open_runs.PART", 2)
    app = nerv.App("made")
    app.workflow("waits")(lambda w: w.signal("go"))
    world = World(app)
    for number in range(5):
        await world.starter.start("waits", {}, f"open-{number}")
    await OpenRuns(world.history, SystemClock(), "t").follow()
    lists = len(await world.stream("scheduler-open"))
    for number in range(5, 11):
        await world.starter.start("waits", {}, f"open-{number}")
    dying = OpenRuns(world.history, SystemClock(), "t")
    world.history.failures.append(_second_part(dying))
    await dying.follow()
    assert len(await world.stream("scheduler-open")) > lists
    found = await OpenRuns(world.history, SystemClock(), "t").follow()
    assert len(found) == 11


def _second_part(dying: OpenRuns) -> Any:
    """Fails the second event of a list."""
    seen: list[str] = []

    def failure(request: Any) -> bool:
        if request.stream == "scheduler-open":
            seen.append(request.events[0].id)
        return len(seen) == 2

    return failure
