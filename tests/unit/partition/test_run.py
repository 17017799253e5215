# SPDX-License-Identifier: Apache-2.0
"""Runs on threads, processes and the event loop: the same units, the same outcomes."""

import asyncio
import multiprocessing
import operator
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from nerv.errors import Misconfigured, NotFound, UnknownOutcome
from nerv.partition import Each, Partition, Progress, QuantumPartitioner, RunRecord, Span, Unit
from nerv.partition.partitioner import Backend
from nerv.types import Health
from tests.faults.core import partition_units as work

BACKENDS: tuple[Backend, ...] = ("threads", "processes", "asyncio")
PATIENCE = 20.0  # seconds for what happens in hundredths on a machine that has time


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each of the three."""
    found: Backend = request.param
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After each test no worker thread and no worker process is left."""
    work.RELEASE.clear()
    yield
    work.RELEASE.set()
    deadline = time.monotonic() + PATIENCE
    for thread in threading.enumerate():
        if thread.name.startswith("nerv-partition"):
            assert thread.name.endswith("(abandoned)"), thread
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), thread
    assert [child for child in multiprocessing.active_children() if child.name == "nerv-partition"] == []


def diamond() -> list[Unit]:
    """Two units on one, and one on both: 1, 2, 2, 5."""
    return [
        Unit("bottom", work.add, ("left", "right")),
        Unit("left", work.add, ("top",)),
        Unit("right", work.add_async, ("top",)),
        Unit("top", work.add),
    ]


def failing() -> list[Unit]:
    """One unit fails; two need it, one after the other; one does not."""
    return [
        Unit("bad", work.boom),
        Unit("child", work.add, ("bad",)),
        Unit("grandchild", work.add, ("child",)),
        Unit("good", work.add),
    ]


async def test_results_are_passed_by_name(backend: Backend) -> None:
    """Whatever the order in which units are given, each gets the results that it needs; plain and coroutine functions mix."""
    record = await QuantumPartitioner(backend).run(diamond())
    assert record.ok
    assert dict(record.check().results) == {"top": 1, "left": 2, "right": 2, "bottom": 5}
    assert record["bottom"] == 5


def test_a_program_without_a_loop_runs_it_too(backend: Backend) -> None:
    """run_sync is the same run."""
    assert QuantumPartitioner(backend).run_sync(diamond())["bottom"] == 5
    assert QuantumPartitioner(backend).run_sync([]).ok


async def test_run_sync_is_refused_where_a_loop_runs() -> None:
    """It would stop everything else there; the error says what to call instead."""
    with pytest.raises(Misconfigured, match="await run"):
        QuantumPartitioner().run_sync(diamond())


async def test_with_continue_only_what_needs_the_failed_is_cancelled(backend: Backend) -> None:
    """The rest ends, and each unit is in one place with its reason."""
    record = await QuantumPartitioner(backend, on_error="continue").run(failing())
    assert set(record.results) == {"good"}
    assert set(record.failures) == {"bad"}
    assert "bad" in record.cancelled["child"]
    assert set(record.cancelled) == {"child", "grandchild"}
    with pytest.raises(work.Boom):
        record["bad"]
    with pytest.raises(NotFound, match="bad"):
        record["child"]
    with pytest.raises(work.Boom):
        record.check()


async def test_with_cancel_the_first_error_ends_the_run(backend: Backend) -> None:
    """On one worker nothing is begun after the failure, and every unit says why."""
    units = [Unit("bad", work.boom), *(Unit(f"later{number}", work.add) for number in range(5))]
    record = await QuantumPartitioner(backend, workers=(1, 1)).run(units)
    assert set(record.failures) == {"bad"}
    assert set(record.cancelled.values()) == {"unit bad failed"}
    assert len(record.cancelled) == 5


async def test_many_units_come_out_right(backend: Backend) -> None:
    """A lattice of 600 units in 60 layers gives what plain addition gives, in an order that respects the needs."""
    width, depth = 10, 60
    units = [
        Unit(f"{layer}.{place}", work.add, tuple(f"{layer - 1}.{(place + n) % width}" for n in (0, 1)) if layer else ())
        for layer in range(depth)
        for place in range(width)
    ]
    record = await QuantumPartitioner(backend).run(units)
    value = 1
    for layer in range(depth):
        assert record[f"{layer}.3"] == value
        value = 1 + 2 * value
    starts = {span.unit: span.start for span in record.gantt}
    ends = {span.unit: span.end for span in record.gantt}
    assert all(ends[need] <= starts[unit.name] for unit in units for need in unit.needs)
    assert len(record.gantt) == len(units)
    assert record.counters["hops"] + record.counters["fused"] == len(units)


async def test_small_units_are_fused_while_it_runs(backend: Backend) -> None:
    """Of 2,000 small units most share a hop with another, and the Gantt record shows which."""
    record = await QuantumPartitioner(backend).run([Unit(str(number), work.add) for number in range(2000)])
    assert record.ok
    assert record.counters["hops"] < 1000
    assert len({span.batch for span in record.gantt}) == record.counters["hops"]


async def test_large_units_are_split_while_it_runs(backend: Backend) -> None:
    """A unit expected to last is run as parts and merged; its dependant sees the whole."""
    units = [Unit("w", work.whole, (), None, work.parts, sum, expected=10.0), Unit("after", work.add, ("w",))]
    record = await QuantumPartitioner(backend, workers=(1, 2)).run(units)
    assert record["w"] == work.whole()
    assert record["after"] == 1 + record["w"]
    assert (record.counters["split"], record.counters["parts"]) == (1, 8)


async def test_a_kind_is_split_once_it_was_measured(backend: Backend) -> None:
    """The first of a kind runs whole; the next ones, known to last 40 ms, are split."""
    partition = Partition([Unit("rows", partial(list, range(8)))])
    slow = partial(work.busy, seconds=0.005)
    for number in range(3):
        before = f"u{number - 1}" if number else "rows"
        partition.add(Unit(f"gate{number}", take_second, ("rows", before)))
        partition.add(Each(f"u{number}", slow, f"gate{number}"))
    record = await QuantumPartitioner(backend, workers=(1, 2), target=0.001).run(partition)
    assert record.check()["u2"] == [1 + row for row in range(8)]
    assert record.counters["split"] == 2


def take_second(rows: list[int], before: object) -> list[int]:
    """The rows, after something else."""
    return rows


async def test_a_failing_part_fails_the_whole_once(backend: Backend) -> None:
    """The error is that of the part; parts that have not begun are dropped, and nothing is merged."""
    unit = Unit("w", work.whole, (), None, bad_parts, sum, expected=10.0)
    record = await QuantumPartitioner(backend, workers=(1, 2), on_error="continue").run([unit, *diamond()])
    assert isinstance(record.failures["w"], work.Boom)
    assert set(record.results) == {"top", "left", "right", "bottom"}
    assert "w[merge]" not in {span.unit for span in record.gantt}


def bad_parts(count: int) -> list[Any]:
    """Parts of which the second fails."""
    return [work.add, work.boom, *([work.add] * (count - 2))]


async def test_a_split_or_merge_that_raises_fails_the_unit(backend: Backend) -> None:
    """Neither takes the worker or another unit with it."""
    for split, merge in ((work.boom, sum), (work.parts, work.boom)):
        unit = Unit("w", work.whole, (), None, split, merge, expected=10.0)  # type: ignore[arg-type] # boom is no split
        record = await QuantumPartitioner(backend, workers=(1, 2), on_error="continue").run([unit, *diamond()])
        assert isinstance(record.failures["w"], work.Boom)
        assert len(record.results) == 4


async def test_progress_is_told_from_start_to_end(backend: Backend) -> None:
    """The first call has nothing done, the last one everything, and no count ever shrinks."""
    seen: list[Progress] = []

    async def note(progress: Progress) -> None:
        seen.append(progress)

    await QuantumPartitioner(backend, on_error="continue").run([*failing(), *diamond()], on_progress=note)
    assert (seen[0].total, seen[-1].done, seen[-1].failed, seen[-1].cancelled) == (8, 5, 1, 2)
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert (seen[-1].ready, seen[-1].running) == (0, 0)


async def test_a_listener_that_raises_stops_the_run(backend: Backend) -> None:
    """Its error comes out of run as it is, and the run's record is kept aside."""

    def fail(progress: Progress) -> None:
        raise work.Boom("listener")

    partitioner = QuantumPartitioner(backend)
    with pytest.raises(work.Boom, match="listener"):
        await partitioner.run(diamond(), on_progress=fail)
    assert partitioner.interrupted is not None


async def test_a_cancelled_run_stops_and_keeps_its_record(backend: Backend) -> None:
    """What runs is broken off after the grace and is unknown, what had not begun is cancelled, and the task is cancelled."""
    hang = work.hang_async if backend == "asyncio" else work.hang
    units = [Unit("hangs", hang), Unit("after", work.add, ("hangs",))]
    partitioner = QuantumPartitioner(backend, workers=(1, 1), grace=0.01)
    began = asyncio.Event()

    def note(progress: Progress) -> None:
        if progress.running:
            began.set()

    task = asyncio.create_task(partitioner.run(units, on_progress=note))
    await asyncio.wait_for(began.wait(), PATIENCE)
    task.cancel()
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.cancelled()
    record = partitioner.interrupted
    assert record is not None
    assert record.unknown == ("hangs",)
    assert dict(record.cancelled) == {"after": "it needs hangs, which failed"}
    assert len(asyncio.all_tasks()) == 1


async def test_what_runs_may_end_within_the_grace() -> None:
    """A unit that is running when another fails keeps its result."""
    both = threading.Barrier(2)
    failed = threading.Event()

    def fail() -> None:
        both.wait(PATIENCE)
        raise work.Boom

    def end(progress: Progress) -> None:
        if progress.failed:
            failed.set()

    def patient() -> bool:
        both.wait(PATIENCE)
        return failed.wait(PATIENCE)

    units = [Unit("fails", fail), Unit("patient", patient), Unit("after", work.add, ("patient",))]
    record = await QuantumPartitioner(workers=(2, 2), grace=PATIENCE).run(units, on_progress=end)
    assert dict(record.results) == {"patient": True}
    assert set(record.cancelled) == {"after"}


@pytest.mark.parametrize("on_error", ["cancel", "continue"])
async def test_a_unit_that_hangs_is_given_up_after_its_time(backend: Backend, on_error: Any) -> None:
    """It is unknown, not failed; whoever needs it is cancelled; with continue the others end."""
    hang = work.hang_async if backend == "asyncio" else work.hang
    units = [Unit("hangs", hang, timeout=0.02), Unit("after", work.add, ("hangs",)), *diamond()]
    partitioner = QuantumPartitioner(backend, workers=(1, 2), on_error=on_error, grace=PATIENCE)
    record = await asyncio.wait_for(partitioner.run(units), PATIENCE)
    assert isinstance(record.failures["hangs"], UnknownOutcome)
    assert "0.02" in str(record.failures["hangs"])
    assert "after" in record.cancelled
    assert on_error == "cancel" or len(record.results) == 4
    left = {"threads": "abandoned", "processes": "killed"}.get(backend)
    assert left is None or record.counters[left] == 1


async def test_an_abandoned_thread_is_told_of_until_it_ends() -> None:
    """While it hangs the partitioner is degraded; let go, it ends and the partitioner is well; its late result is dropped."""
    partitioner = QuantumPartitioner(on_error="continue")
    record = await partitioner.run([Unit("hangs", work.hang, timeout=0.01), Unit("good", work.add)])
    assert set(record.results) == {"good"}
    assert partitioner.describe().health is Health.DEGRADED
    [hanging] = [thread for thread in threading.enumerate() if thread.name.endswith("(abandoned)")]
    work.RELEASE.set()
    await asyncio.to_thread(hanging.join, PATIENCE)
    assert partitioner.describe().health is Health.OK
    assert set(record.results) == {"good"}


async def test_a_timeout_that_nothing_can_keep_is_refused() -> None:
    """A plain function on the event loop cannot be stopped; that is said before anything runs."""
    with pytest.raises(Misconfigured, match="coroutine function"):
        await QuantumPartitioner("asyncio").run([Unit("u", work.hang, timeout=1.0)])


def test_two_threads_share_what_one_was_dealt() -> None:
    """Units that need each other to go on (a barrier of two) all end, which one worker alone could not do."""
    barrier = threading.Barrier(2)

    def meet() -> int:
        return barrier.wait(PATIENCE)

    top = Unit("top", work.add)  # its worker gets all that follows, so that the other one must steal
    units = [top, *(Unit(f"m{number}", after(meet), ("top",)) for number in range(8))]
    record = QuantumPartitioner(workers=(2, 2), target=1e-6).run_sync(units)
    assert record.check().ok
    assert record.counters["steals"] >= 1
    assert len({span.worker for span in record.gantt}) == 2


def after(function: Any) -> Any:
    """The function, called whatever came before."""
    return lambda *before: function()


def test_the_pool_grows_with_the_work_and_stays_in_its_bounds() -> None:
    """Four units that wait for each other get four workers, five small ones in a row get one; never more than the bound."""
    barrier = threading.Barrier(4)
    meet = after(partial(barrier.wait, PATIENCE))
    wide = QuantumPartitioner(workers=(1, 4)).run_sync([Unit(f"u{number}", meet) for number in range(4)])
    assert wide.check().ok
    assert max(workers for _, workers in wide.pool) == 4
    chain = [Unit(f"c{number}", work.add, (f"c{number - 1}",) if number else ()) for number in range(5)]
    narrow = QuantumPartitioner(workers=(1, 4)).run_sync(chain)
    assert max(workers for _, workers in narrow.pool) == 1


def test_units_wait_together_on_an_event_loop() -> None:
    """A hundred coroutines that wait for the last of them all end: they run at once, as tasks."""
    met = 0
    everybody = asyncio.Event()

    async def meet() -> None:
        nonlocal met
        met += 1
        if met == 20:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), PATIENCE)

    units = [Unit(f"u{number}", meet) for number in range(20)]
    assert QuantumPartitioner("asyncio", workers=(1, 20)).run_sync(units).check().ok


async def test_counters_add_up_over_runs() -> None:
    """The description counts runs, outcomes and hops of the partitioner's life."""
    partitioner = QuantumPartitioner("asyncio", on_error="continue", name="mine")
    await partitioner.run(diamond())
    await partitioner.run(failing())
    told = partitioner.describe()
    assert (told.kind, told.name, told.health) == ("QuantumPartitioner", "mine", Health.OK)
    assert {name: told.counters[name] for name in ("runs", "done", "failed", "cancelled", "unknown")} == {
        "runs": 2,
        "done": 5,
        "failed": 1,
        "cancelled": 2,
        "unknown": 0,
    }


async def test_runs_of_one_partitioner_do_not_meet() -> None:
    """Two runs at once give each its own results."""
    partitioner = QuantumPartitioner()
    one, two = await asyncio.gather(
        partitioner.run([Unit("u", partial(operator.add, 1, 1))]),
        partitioner.run([Unit("u", partial(operator.mul, 5, 5))]),
    )
    assert (one["u"], two["u"]) == (2, 25)


def test_the_gantt_record_is_drawn_as_text() -> None:
    """A line for each worker with a mark for every cell that it was busy in, and its share of the run."""
    spans = (Span("a", 0, 0.0, 1.0, 0), Span("b", 1, 0.5, 0.52, 1))
    record = RunRecord({"a": 1, "b": 1}, {}, {}, spans, ((0.0, 2),), {}, 1.0)
    assert record.gantt_text(10).splitlines() == [
        "2 spans in 1.000 s, a cell is 100 ms",
        "  0 |##########| 100%",
        "  1 |     -    |   2%",
    ]
    assert record.busy() == pytest.approx({0: 1.0, 1: 0.02})
