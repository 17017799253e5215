# SPDX-License-Identifier: Apache-2.0
"""The worker on queue and history in memory: what it does when the order of things is against it."""

import asyncio
import importlib.util
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import nerv
from nerv.client import Client
from nerv.errors import IdConflict, Misconfigured
from nerv.protocols import AppendOutcome, AppendRequest
from nerv.protocols.queue import Claim, RunStatus
from nerv.telemetry import Sampling, span, tracing
from nerv.telemetry.spans.quick import QuickSpans
from nerv.types import EventType
from nerv.workflows import Drawing, Fan, Output, PermanentError, Result
from nerv_scheduler.fusing import Fusing
from nerv_scheduler.interruptions import Interruptions, StoppedError
from nerv_scheduler.invoke import callees, invoke
from nerv_scheduler.pools import Threads
from tests.unit.scheduler.scheduler_in_memory import FAST, Away, Noted, World, made, until


async def test_a_result_is_recorded_before_the_run_goes_on() -> None:
    """The stream of the run tells all of it, in order; effects are recorded as done after the result."""

    async def work() -> Result:
        return Result(7, [nerv.append("thing-1", Noted(n=1)), nerv.append("thing-1", Noted(n=2))])

    world = made(work)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        state = await world.ended("r1")
    assert (state.status, state.result) == (RunStatus.COMPLETED, b"7")
    assert await world.types("r1") == ["run.submitted", "task.completed", "task.effects-done", "run.completed"]
    assert [event.data for event in await world.stream("thing-1")] == [b'{"n":1}', b'{"n":2}']


async def test_a_second_attempt_takes_the_recorded_result() -> None:
    """Two attempts give other values; the first that was recorded is everybody's, and its effects are the only ones."""
    calls: list[int] = []
    go = asyncio.Event()

    async def work() -> Result:
        calls.append(1)
        mine = len(calls)
        if mine == 1:
            await go.wait()
        return Result(mine, [nerv.append("thing-1", Noted(n=mine))])

    world = made(work)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        await until(lambda: bool(calls))
        # As after a wipe: the queue forgets who works on it, and another attempt is made from history.
        world.queue.wipe()
        state = await world.ended("r1")
        go.set()
        await asyncio.sleep(0)
    assert (state.result, len(calls)) == (b"2", 2)
    assert [event.data for event in await world.stream("thing-1")] == [b'{"n":2}']


async def test_an_attempt_after_a_death_performs_only_what_is_owed() -> None:
    """Died after its result was recorded: the next attempt does the effects and does not run the task again."""
    calls: list[int] = []

    async def work() -> Result:
        calls.append(1)
        return Result(1, [nerv.append("thing-1", Noted(n=1))])

    world = made(work)
    await world.starter.start("w", {}, "r1")
    world.history.failures.append(lambda request: request.stream == "thing-1")
    async with world.replica():
        state = await world.ended("r1")
    assert state.status is RunStatus.COMPLETED
    assert len(calls) == 1
    assert len(await world.stream("thing-1")) == 1
    assert (await world.types("r1")).count("task.completed") == 1


async def test_work_waits_while_history_is_away() -> None:
    """A result that cannot be recorded now is recorded later; the task is not run again."""
    calls: list[int] = []

    async def work() -> int:
        calls.append(1)
        return 1

    world = made(work)
    await world.starter.start("w", {}, "r1")
    for _ in range(3):
        world.history.failures.append(lambda request: request.stream == "run-r1")
    async with world.replica():
        assert (await world.ended("r1")).status is RunStatus.COMPLETED
    assert calls == [1]


class Slow(Away):
    """A history that takes results once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()

    async def append(self, requests: Any) -> list[AppendOutcome]:
        """As ever; results wait."""
        if any(event.type == EventType.TASK_COMPLETED for request in requests for event in request.events):
            await self.let.wait()
        return await super().append(requests)


async def test_a_task_that_has_returned_takes_no_place_while_that_is_recorded() -> None:
    """History takes no results for now: as many tasks again are called as there are places, and no more before it does."""
    app, calls = nerv.App("made"), list[int]()

    @app.task()
    async def work(number: int) -> int:
        calls.append(number)
        return number

    app.workflow("w")(lambda w: w.map(work, range(12)))
    world = World(app, lease=30.0)
    world.history = slow = Slow()
    world.replace_queue(world.queue)
    world.fusing = Fusing(callees(app), 0.0)
    await world.starter.start("w", {}, "r1")
    async with world.replica() as worker:
        await until(lambda: len(calls) == 2 * FAST.concurrency)
        assert worker.room == 0
        slow.let.set()
        state = await world.ended("r1")
    assert state.status is RunStatus.COMPLETED
    assert sorted(calls) == list(range(12))


async def test_failures_are_retried_as_often_as_declared() -> None:
    """`retries` after the first attempt; each is in history, the last one final."""
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        raise ValueError("no")

    world = made(work, retries=2)
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        state = await world.ended("r1")
    assert (state.status, state.error, len(calls)) == (RunStatus.FAILED, "work: ValueError: no", 3)
    assert await world.types("r1") == ["run.submitted", *["task.failed"] * 3, "run.failed"]


async def test_effects_that_can_never_be_performed_fail_the_run() -> None:
    """An event that the app does not declare, and a call of an outside system."""

    class Stranger(nerv.Event):
        n: int = 1

    for effect in (nerv.append("thing-1", Stranger()), nerv.http("GET", "https://example.org")):

        async def work(effect: Any = effect) -> Result:
            return Result(1, [effect])

        world = made(work, retries=3)
        await world.starter.start("w", {}, "r1")
        async with world.replica():
            state = await world.ended("r1")
        assert state.status is RunStatus.FAILED
        assert (await world.types("r1")).count("task.failed") == 1


async def test_a_refused_effect_fails_the_run() -> None:
    """The target's refusal is final: it is recorded, and the run fails."""

    async def work() -> Result:
        return Result(1, [nerv.append("thing-1", Noted(n=1))])

    world = made(work)

    async def refusing(requests: list[AppendRequest]) -> list[AppendOutcome]:
        if requests[0].stream == "thing-1":
            return [IdConflict("used before")]
        return await Away.append(world.history, requests)

    world.history.append = refusing  # type: ignore[method-assign]  # a target that refuses
    await world.starter.start("w", {}, "r1")
    async with world.replica():
        state = await world.ended("r1")
    assert state.status is RunStatus.FAILED
    assert "used before" in state.error


async def test_a_run_effect_starts_a_run_once() -> None:
    """Its id is the effect's, so that another attempt starts no second one."""
    app = nerv.App("made")

    @app.task()
    async def begin() -> Result:
        return Result(None, [nerv.run("child", n=3)])

    @app.task()
    async def same(n: int) -> int:
        return n

    @app.workflow("parent")
    def parent(w: Drawing) -> Output:
        return w.call(begin)

    @app.workflow("child")
    def child(w: Drawing, n: int) -> Output:
        return w.call(same, n)

    world = World(app)
    await world.starter.start("parent", {}, "r1")
    async with world.replica():
        await world.ended("r1")
        [(run, _)] = await world.queue.runs("child", 10)
        assert (await world.ended(run)).result == b"3"


async def test_a_start_is_done_once() -> None:
    """Same id and input: no second run. Other input or workflow: IdConflict."""

    async def work() -> int:
        return 1

    world = made(work)
    assert await world.starter.start("w", {}, "r1")
    assert not await world.starter.start("w", {}, "r1")
    with pytest.raises(IdConflict):
        await world.starter.start("w", {"other": 1}, "r1")
    assert await world.types("r1") == ["run.submitted"]


async def test_a_start_that_was_given_up_is_finished_by_others() -> None:
    """Recorded, but never put into the queue: it comes up as an orphan and runs."""

    async def work() -> int:
        return 1

    world = made(work)
    await world.starter.start("w", {}, "r1")
    world.queue.wipe()
    await world.queue.mark_intact({})
    await world.queue.intend("r1", 0.05)
    await world.queue.intend("never-recorded", 0.05)
    async with world.replica():
        assert (await world.ended("r1")).status is RunStatus.COMPLETED
    assert await world.queue.show("never-recorded") is None


async def test_a_wiped_queue_is_filled_from_history() -> None:
    """All unfinished runs come back with what they had done, and finished ones are listed."""
    hold = asyncio.Event()

    async def work() -> int:
        await hold.wait()
        return 1

    world = made(work)
    for n in range(5):
        await world.starter.start("w", {}, f"r{n}")
    async with world.replica():
        world.queue.wipe()
        hold.set()
        states = [await world.ended(f"r{n}") for n in range(5)]
    assert {state.status for state in states} == {RunStatus.COMPLETED}
    world.queue.wipe()
    assert await world.recovery.restore_all() == 0
    assert len(await world.queue.runs("w", 10)) == 5


async def test_a_stopping_replica_gives_its_work_back() -> None:
    """What does not end within the drain is another's at once, and does not count as lost."""
    started: list[str] = []
    hold = asyncio.Event()

    async def work() -> int:
        started.append("x")
        if len(started) == 1:
            await asyncio.Event().wait()
        await hold.wait()
        return 1

    world = made(work)
    world.queue._lease = 600.0  # longer than this test waits: nothing here comes by a lease that ends
    await world.starter.start("w", {}, "r1")
    async with world.replica("one"):
        await until(lambda: bool(started))
    hold.set()
    async with world.replica("two"):
        state = await world.ended("r1")
    assert (state.nodes["work"].worker, state.nodes["work"].attempt) == ("two", 2)


async def test_a_task_that_blocks_the_loop_keeps_its_lease() -> None:
    """An async task that blocks its process for three leases is not given to another one."""
    calls: list[str] = []

    async def work() -> int:
        calls.append("x")
        time.sleep(3 * FAST.lease_seconds)  # noqa: ASYNC251 - the fault that is tested
        return 1

    world = made(work)
    await world.starter.start("w", {}, "r1")
    other: list[Any] = []

    def elsewhere() -> None:
        async def look() -> None:
            await until(lambda: bool(calls))
            end = time.monotonic() + 2.5 * FAST.lease_seconds
            while time.monotonic() < end:
                other.extend((await world.queue.take("two", 1, 0.05)).claims)

        asyncio.run(look())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    async with world.replica("one"):
        state = await world.ended("r1")
    await asyncio.to_thread(thread.join)
    assert (other, calls) == ([], ["x"])
    assert state.nodes["work"].attempt == 1


async def test_a_task_that_kills_its_replicas_fails_in_the_end() -> None:
    """After a bounded number of silent deaths the task is not tried again."""

    async def work() -> int:
        raise AssertionError("not to be run")

    world = made(work)
    await world.starter.start("w", {}, "r1")
    world.queue._lease = 0.01
    async with asyncio.timeout(10):
        taken = 0
        while taken <= FAST.losses:
            taken += len((await world.queue.take("dying", 1, 0.05)).claims)
    world.queue._lease = FAST.lease_seconds
    async with world.replica():
        state = await world.ended("r1")
    assert "died" in state.error


async def test_room_counts_threads_that_outlive_their_time_out() -> None:
    """A thread cannot be stopped: it takes up room until it ends."""
    hold = threading.Event()
    world = made(hold.wait, timeout=0.05)
    await world.starter.start("w", {}, "r1")
    async with world.replica() as worker:
        state = await world.ended("r1")
        assert "took longer than 0.05 s" in state.error
        assert worker.room == FAST.concurrency - 1
        hold.set()
        await until(lambda: worker.room == FAST.concurrency)


async def test_a_task_is_called_as_declared() -> None:
    """Wrong arguments and results that are not JSON are permanent; a task cannot end its process or cancel its worker."""
    app = nerv.App("called")

    @app.task()
    def one(a: int) -> Any:
        if a == 1:
            raise SystemExit(3)
        return object()

    found = callees(app)["one"]
    with pytest.raises(PermanentError, match="cannot be called"):
        await invoke(found, [1, 2], None, Threads())
    with pytest.raises(PermanentError, match="not JSON"):
        await invoke(found, [2], None, Threads())
    with pytest.raises(RuntimeError, match="SystemExit"):
        await invoke(found, [1], None, Threads())

    @app.task()
    async def two(error: bool) -> None:
        raise SystemExit if error else asyncio.CancelledError

    for error in (True, False):
        with pytest.raises(RuntimeError, match=r"SystemExit|CancelledError"):
            await invoke(callees(app)["two"], [error], None, Threads())


async def test_the_client_is_handed_to_the_parameter_that_asks_for_it() -> None:
    """By annotation, in async tasks; a task that is not async is refused at the start."""
    app = nerv.App("asking")

    @app.task()
    async def last(n: int, client: nerv.Client) -> bool:
        return isinstance(client, Client) and n == 1

    @app.task()
    async def first(client: nerv.Client, n: int, *rest: int) -> bool:
        return isinstance(client, Client) and (n, rest) == (1, (2, 3))

    @app.task()
    async def named(n: int = 1, *, client: nerv.Client) -> bool:
        return isinstance(client, Client) and n == 1

    for name, arguments in (("last", [1]), ("first", [1, 2, 3]), ("named", [1]), ("named", [])):
        assert (await invoke(callees(app)[name], arguments, Client({}), Threads())).value is True

    @app.task()
    def plain(client: nerv.Client) -> None:
        """Not async."""

    with pytest.raises(Misconfigured, match="async def"):
        callees(app)


@pytest.fixture
def spans() -> Any:
    """Exported spans. The provider is set once a process, so that other tests see it too, turned off."""
    exporter = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.turn_on(Sampling(1.0), QuickSpans(provider, "nerv"))
    yield exporter
    tracing.sample(None)


async def test_one_trace_goes_from_the_start_to_the_effects(spans: InMemorySpanExporter) -> None:
    """Every task's span and every event, those of effects included, continue the trace of the start."""

    async def work() -> Result:
        return Result(7, [nerv.append("thing-1", Noted(n=1))])

    world = made(work)
    with span("root", begin=True) as root:
        await world.starter.start("w", {}, "r1")
    async with world.replica():
        await world.ended("r1")
    wanted = f"{root.get_span_context().trace_id:032x}"
    events = await world.stream("run-r1") + await world.stream("thing-1")
    assert {(event.traceparent or "")[3:35] for event in events} == {wanted}
    names = {s.name for s in spans.get_finished_spans() if f"{s.context.trace_id:032x}" == wanted}
    assert {"send w", "process work", "process w"} <= names


def test_the_app_of_the_integration_tests_draws() -> None:
    """The app that the integration tests run has no workflow that cannot be drawn."""
    path = Path(__file__).parent.parent.parent / "apps" / "work.py"
    spec = importlib.util.spec_from_file_location("work", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["work"] = module
    spec.loader.exec_module(module)
    drawing = Drawing(module.app.tasks, {})
    assert isinstance(module.gated(drawing, "x", 2), Fan)


async def test_an_entry_that_is_taken_twice_by_one_replica_is_two_attempts() -> None:
    """Its lease had run out while it worked: each attempt is held, stopped and let go for itself."""
    interruptions = Interruptions()
    first = Claim("r1", "work", "1-0", "e", 1, nonce="n1")
    second = replace(first, attempt=2, nonce="n2")
    go = asyncio.Event()

    async def work() -> int:
        await go.wait()
        return 1

    both = [asyncio.create_task(interruptions.guard([claim], work())) for claim in (first, second)]
    await asyncio.sleep(0)
    interruptions.stop(second)
    with pytest.raises(StoppedError):
        await both[1]
    go.set()
    assert await both[0] == 1
