# SPDX-License-Identifier: Apache-2.0
"""Suite *core*: the partitioner on all three backends; units raise, hang, kill their process, and runs are cancelled.

Invariants of every run: each unit ends in one place, as a model says (no lost unit); results are right; nothing runs twice
or before what it needs; it ends in time (no deadlock); no thread, task or process is left that is not reported (no leak).
"""

import asyncio
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from nerv.errors import UnknownOutcome
from nerv.partition import QuantumPartitioner, RunRecord, Unit
from nerv.partition.partitioner import Backend, OnError
from nerv.types import Health, frozen
from tests.faults.core import partition_units as work
from tests.faults.core.machines import STEPS
from tests.faults.verdict import Invariant

RUN_SECONDS = 30.0  # a run that takes longer is deadlocked; the longest takes some hundredths
END_SECONDS = 10.0  # for a thread or process to end once it was let go
HANG_TIMEOUT = 0.01
MOST_UNITS = 40
BACKENDS: tuple[Backend, ...] = ("threads", "processes", "asyncio")
GOOD = {"add": work.add, "async": work.add_async, "busy": work.busy, "split": work.whole}
FAULTY = ("boom", "hang", "die")
PRELOAD = [
    "tests.faults.core.partition",
    "pytest",
]  # a process that replaces a killed one is there in 20 ms, not in 600

operations = 0  # units of all runs
faults: Counter[str] = Counter()  # by kind, as they were met in runs
met: list[
    str
] = []  # what went wrong; a race may not show again when Hypothesis repeats the run, and would be called flaky


@frozen
class Drawn:
    """A unit as it was drawn."""

    name: str
    kind: str
    needs: tuple[str, ...]


@frozen
class Setting:
    """A partitioner as it was drawn; the processes that are kept have a setting of their own but for the first two."""

    on_error: OnError
    stealing: bool
    target: float
    crew: int
    queue: int


def unit_of(drawn: Drawn, backend: Backend) -> Unit:
    """The unit for a backend. Only processes survive the death of one, so that elsewhere such a unit raises."""
    kind = "boom" if drawn.kind == "die" and backend != "processes" else drawn.kind
    if kind == "hang":
        function: Callable[..., Any] = work.hang_async if backend == "asyncio" else work.hang
        return Unit(drawn.name, function, drawn.needs, timeout=HANG_TIMEOUT)
    if kind == "split":
        return Unit(drawn.name, work.whole, drawn.needs, None, work.parts, sum, expected=10.0)
    known: Mapping[str, Callable[..., Any]] = {**GOOD, "boom": work.boom, "die": work.die}
    # One group: guesses about a unit's length are often wrong, so that hops end early and give units back.
    return Unit(drawn.name, known[kind], drawn.needs, group="" if kind == "die" else "any")


@frozen
class Expected:
    """What a run in which every unit gets its turn comes to."""

    results: Mapping[str, int]
    failing: frozenset[str]


def expected(drawn: Iterable[Drawn]) -> Expected:
    """The model: plain recursion over the needs, in the order in which they were drawn."""
    results: dict[str, int] = {}
    failing: set[str] = set()
    for one in drawn:
        if not all(need in results for need in one.needs):
            continue
        inputs = [results[need] for need in one.needs]
        if one.kind in FAULTY:
            failing.add(one.name)
        else:
            results[one.name] = 1 + sum(inputs) + (sum(range(100)) if one.kind == "split" else 0)
    return Expected(results, frozenset(failing))


def complaints(drawn: Sequence[Drawn], record: RunRecord, *, cut: bool, cancels: bool) -> list[str]:
    """What is wrong with the record of a run. `cut`: it was cancelled from outside; `cancels`: the first failure ends it."""
    model = expected(drawn)
    found = [f"{one.name} is in {places} places" for one in drawn if (places := _places(record, one.name)) != 1]
    found += [
        f"{name} gave {value}, not {model.results.get(name)}"
        for name, value in record.results.items()
        if value != model.results.get(name)
    ]
    if not cut and not (cancels and model.failing):
        found += [f"{name} has no result" for name in model.results if name not in record.results]
        found += [f"{name} did not fail" for name in model.failing if name not in record.failures]
    if not cut and model.failing and not record.failures:
        found.append("something failed and nothing is reported")
    kinds = {one.name: one.kind for one in drawn}
    stopped = cut or (cancels and bool(model.failing))
    found += [
        f"{name} failed with {error!r}"
        for name, error in record.failures.items()
        if not _allowed(kinds[name], error, faulty=name in model.failing, stopped=stopped)
    ]
    return found + _out_of_order(drawn, record)


def _allowed(kind: str, error: BaseException, *, faulty: bool, stopped: bool) -> bool:
    """Whether a unit may fail so: what was broken off when a run was stopped is unknown, whatever it is."""
    if isinstance(error, work.Boom):
        return faulty and kind in ("boom", "die")
    return isinstance(error, UnknownOutcome) and (stopped or (faulty and kind in ("hang", "die")))


def _places(record: RunRecord, name: str) -> int:
    return (name in record.results) + (name in record.failures) + (name in record.cancelled)


def _out_of_order(drawn: Sequence[Drawn], record: RunRecord) -> list[str]:
    """Units that ran twice, ran though they are called cancelled, gave a result without running, or began too early."""
    died = {one.name for one in drawn if one.kind == "die"}
    times = Counter(span.unit for span in record.gantt)
    # Who shares a hop with a unit that kills the process is run again when it had ended and its result was lost.
    most = 1 + (2 if died else 0)
    found = [f"{name} ran {count} times" for name, count in times.items() if count > most]
    found += [f"{name} ran and is called cancelled" for name in record.cancelled if times[name]]
    starts = {span.unit: span.start for span in reversed(record.gantt)}
    ends = {span.unit: span.end for span in record.gantt}
    for one in drawn:
        if one.name in record.results and one.kind != "split":
            if one.name not in starts:
                found.append(f"{one.name} has a result and did not run")
            for need in one.needs:
                if need in ends and not died and ends[need] > starts.get(one.name, 0.0):
                    found.append(f"{one.name} began before {need} had ended")
    return found


class PartitionMachine(RuleBasedStateMachine):
    """A graph that grows, and runs of it."""

    made: ClassVar[type[QuantumPartitioner]] = QuantumPartitioner
    backends: ClassVar[tuple[Backend, ...]] = BACKENDS
    kept: ClassVar[dict[tuple[OnError, bool], QuantumPartitioner]] = {}
    """Partitioners whose processes are kept, for starting one takes longer than a run."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[Drawn] = []

    @precondition(lambda self: len(self.drawn) < MOST_UNITS)
    @rule(
        kinds=st.lists(st.sampled_from(["add", "add", "busy", "async", "split"]), min_size=1, max_size=6),
        picks=st.lists(st.integers(0, 1000), max_size=3),
    )
    def add(self, kinds: list[str], picks: list[int]) -> None:
        """Some units more, on the results of others."""
        for kind in kinds:
            self._draw(kind, picks)

    @precondition(lambda self: sum(one.kind in FAULTY for one in self.drawn) < 3)
    @rule(kind=st.sampled_from(["boom", "boom", "hang", "die"]), picks=st.lists(st.integers(0, 1000), max_size=2))
    def spoil(self, kind: str, picks: list[int]) -> None:
        """A faulty unit more."""
        self._draw(kind, picks)

    @rule()
    def forget(self) -> None:
        """A new graph."""
        self.drawn = []

    @precondition(lambda self: self.drawn)
    @rule(
        backend=st.sampled_from(BACKENDS),
        setting=st.builds(
            Setting,
            st.sampled_from(["cancel", "continue"]),
            st.booleans(),
            st.sampled_from([1e-6, 1e-5, 1e-4, 5e-3]),
            st.sampled_from([1, 3]),
            st.sampled_from([4, 1000]),
        ),
        cut=st.none() | st.integers(1, 30),
    )
    def run(self, backend: Backend, setting: Setting, cut: int | None) -> None:
        """Run it, cancelled after so many turns of the event loop where `cut` says so."""
        if backend not in self.backends:
            backend = self.backends[0]
        partitioner = self._partitioner(backend, setting)
        try:
            self._run(partitioner, backend, setting.on_error, cut)
        except Exception as error:
            met.append(f"{type(error).__name__}: {error} on {backend}, {setting}, cut at {cut}, {self.drawn}")
            raise

    def _run(self, partitioner: QuantumPartitioner, backend: Backend, on_error: OnError, cut: int | None) -> None:
        record = asyncio.run(_run(partitioner, [unit_of(one, backend) for one in self.drawn], cut))
        was_cut = record is None
        record = record or partitioner.interrupted
        assert record is not None, "a cancelled run left no record"
        self._count(record, was_cut)
        found = complaints(self.drawn, record, cut=was_cut, cancels=on_error == "cancel")
        assert not found, found[:5]
        _let_go(partitioner, record)

    @invariant()
    def nothing_is_left(self) -> None:
        """Between runs there is no thread of a worker, and no more processes than are kept."""
        assert not _threads(), _threads()
        allowed = 2 * len(self.kept)
        found = [child for child in multiprocessing.active_children() if child.name == "nerv-partition"]
        assert len(found) <= allowed, found

    def teardown(self) -> None:
        """After a run that broke an invariant, too: what hangs is let go, so that the next machine begins with nothing left."""
        _release(_threads())

    def _draw(self, kind: str, picks: Sequence[int]) -> None:
        needs = dict.fromkeys(self.drawn[pick % len(self.drawn)].name for pick in picks) if self.drawn else {}
        self.drawn.append(Drawn(f"u{len(self.drawn)}", kind, tuple(needs)))

    def _partitioner(self, backend: Backend, setting: Setting) -> QuantumPartitioner:
        if backend != "processes":
            return self._made(backend, setting)
        key = (setting.on_error, setting.stealing)
        if key not in self.kept:
            multiprocessing.set_forkserver_preload(PRELOAD)
            self.kept[key] = self._made(backend, Setting(*key, target=1e-4, crew=2, queue=4)).__enter__()
        return self.kept[key]

    def _made(self, backend: Backend, setting: Setting) -> QuantumPartitioner:
        return self.made(
            backend,
            workers=(1, setting.crew),
            target=setting.target,
            stealing=setting.stealing,
            on_error=setting.on_error,
            queue=setting.queue,
            grace=0.02,
        )

    def _count(self, record: RunRecord, was_cut: bool) -> None:
        global operations
        operations += len(self.drawn)
        faults["raised"] += sum(isinstance(error, work.Boom) for error in record.failures.values())
        faults["unknown"] += len(record.unknown)
        faults["cut"] += was_cut
        faults.update({name: record.counters[name] for name in ("abandoned", "killed", "lost", "split", "steals")})


async def _run(partitioner: QuantumPartitioner, units: list[Unit], cut: int | None) -> RunRecord | None:
    """The record; None when the run was cancelled before it ended. Raises TimeoutError when it does not end."""
    async with asyncio.timeout(RUN_SECONDS):
        task = asyncio.create_task(partitioner.run(units))
        if cut is not None:
            for _ in range(cut):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
    left = [other for other in asyncio.all_tasks() if other is not asyncio.current_task()]
    assert not left, f"tasks were left: {left}"
    return None if task.cancelled() else task.result()


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("nerv-partition")]


def _let_go(partitioner: QuantumPartitioner, record: RunRecord) -> None:
    """Threads that hang are those that the record counts; let go, they end, and the partitioner is well again."""
    hanging = _threads()
    assert len(hanging) <= record.counters["abandoned"], f"{hanging} were not reported"
    assert all(thread.name.endswith("(abandoned)") for thread in hanging), hanging
    _release(hanging)
    assert not _threads(), "threads stayed when their units had ended"
    assert partitioner.describe().health is Health.OK


def _release(hanging: Iterable[threading.Thread]) -> None:
    """Let threads go that hang, and wait for them."""
    work.RELEASE.set()
    deadline = time.monotonic() + END_SECONDS
    for thread in hanging:
        thread.join(max(0.0, deadline - time.monotonic()))
    work.RELEASE.clear()


def close() -> None:
    """End the processes that were kept."""
    for partitioner in PartitionMachine.kept.values():
        partitioner.__exit__()
    PartitionMachine.kept.clear()


def examine(machine: type[PartitionMachine], examples: int, *, same: bool = False) -> None:
    """Let Hypothesis look for a life of 50 steps that breaks an invariant; raises what it finds. `same`: the same lives
    each time, and the first that breaks one is not made smaller: a unit test wants to know soon.
    """
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=same,
            phases=[Phase.generate] if same else list(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )


def run(size: float) -> list[Invariant]:
    """Examine 2,000 machines of 50 steps (times `size`, at least 20)."""
    global operations
    operations = 0
    faults.clear()
    met.clear()
    examples = max(20, int(2000 * size))
    found: list[str] = []
    try:
        examine(PartitionMachine, examples)
    except Exception as error:  # whatever the machine meets is what the suite is to tell of
        found += met or [f"{type(error).__name__}: {error}"]
    finally:
        close()
    left = [child for child in multiprocessing.active_children() if child.name == "nerv-partition"]
    found += [f"process {child.pid} was left" for child in left]
    kinds = ("raised", "unknown", "cut", "abandoned", "killed", "lost", "split", "steals")
    missing = [kind for kind in kinds if faults[kind] < examples // 50]
    vacuous = f"too few of {', '.join(missing)}: {dict(faults)}" if missing or operations < 40 * examples else ""
    hits = sum(faults[kind] for kind in kinds[:6])
    return [Invariant("core.partition.no-leak-no-deadlock-no-lost-unit", operations, hits, found, vacuous)]
