# SPDX-License-Identifier: Apache-2.0
"""The decisions: who takes what, from which end, how much of it, and what is split."""

from collections.abc import Sequence
from typing import Any

from nerv.errors import UnknownOutcome
from nerv.partition import Unit
from nerv.partition.plan import Plan
from nerv.partition.schedule import Schedule
from nerv.partition.tuning import MOST_FUSED, OUTLIER, Kind, Options, crew_wanted
from nerv.partition.worker import Lost, Outcome, Worker
from tests.faults.core.partition_units import add, parts, whole

TARGET = 0.01


def options(**changed: Any) -> Options:
    """Two workers, no failure ends the run."""
    settings: dict[str, Any] = {
        "low": 1,
        "high": 2,
        "target": TARGET,
        "stealing": True,
        "cancels": False,
        "queue": 1000,
        "repeats": True,
        "grace": 1.0,
    }
    return Options(**{**settings, **changed})


def schedule(units: Sequence[Unit], crew: int = 2, **changed: Any) -> tuple[Schedule, list[Worker]]:
    """A run that has begun, and its workers."""
    made = Schedule(Plan.of(units, 10_000), options(**changed), 0.0)
    made.deal()
    workers = [made.hire(0.0) for _ in range(crew)]
    made.deal_to(workers)
    return made, workers


def many(count: int, **settings: Any) -> list[Unit]:
    """Units without needs."""
    return [Unit(f"u{number}", add, **settings) for number in range(count)]


def end(made: Schedule, worker: Worker, seconds: float = 0.001) -> None:
    """The worker's batch ends, each of it after so long."""
    made.settle(worker, [Outcome(number, None, 1, 0.0, seconds) for number in worker.batch])


def names(made: Schedule, numbers: Sequence[int]) -> list[str]:
    """Of these units."""
    return [made.names[number] for number in numbers]


def test_first_units_are_dealt_in_turn() -> None:
    """Each worker gets every second unit, and begins with what comes first in the plan."""
    made, (one, two) = schedule(many(6, expected=1.0), stealing=False)
    assert names(made, made.take(one, 0.0)) == ["u0"]
    assert names(made, made.take(two, 0.0)) == ["u1"]
    assert names(made, one.own) == ["u4", "u2"]


def test_a_unit_goes_to_who_finished_what_it_needs() -> None:
    """It is put on the deque of the worker that ran the last of its needs, on top, so that it runs there next."""
    units = [*many(4, expected=1.0), Unit("child", add, ("u0", "u1"), expected=1.0)]
    made, (one, two) = schedule(units)
    made.take(one, 0.0)
    made.take(two, 0.0)
    end(made, two)
    assert names(made, two.own) == ["u3"]
    end(made, one)
    assert names(made, made.take(one, 0.0)) == ["child"]


def test_a_thief_takes_half_from_the_other_end() -> None:
    """The victim keeps what it would run next; the steal and its units are counted."""
    made, (one, two) = schedule(many(6, expected=1.0), crew=2)
    two.own, one.own = type(one.own)(), type(one.own)([5, 4, 3, 2, 1, 0])
    assert names(made, made.take(two, 0.0)) == ["u3"]
    assert names(made, [*two.own]) == ["u5", "u4"]
    assert names(made, [*one.own]) == ["u2", "u1", "u0"]
    assert (made.counters["steals"], made.counters["stolen"]) == (1, 3)


def test_without_stealing_nothing_is_taken_from_others() -> None:
    """A worker whose deque is empty stays without work while another has plenty."""
    made, (one, two) = schedule(many(6, expected=1.0), stealing=False)
    for _ in range(3):
        assert made.take(two, 0.0)
        end(made, two)
    assert made.take(two, 0.0) == []
    assert made.take(one, 0.0)
    assert made.ready == 2


def test_a_queue_is_bounded_and_the_rest_waits_in_common() -> None:
    """No deque holds more than its bound; everything runs all the same."""
    made, workers = schedule(many(50, expected=1.0), queue=3)
    ran = 0
    while True:
        assert all(len(worker.own) <= 3 for worker in workers)
        taken = [made.take(worker, 0.0) for worker in workers]
        if not any(taken):
            break
        for worker, batch in zip(workers, taken, strict=True):
            ran += len(batch)
            if batch:
                end(made, worker)
    assert ran == 50
    assert made.over


def test_small_units_are_fused_until_a_hop_lasts_the_target() -> None:
    """The first runs alone as nobody knows how long it takes; then hops double up to what fills the target, and no further."""
    made, [worker] = schedule(many(200), crew=1, high=1)
    sizes = []
    while batch := made.take(worker, 0.0):
        sizes.append(len(batch))
        end(made, worker, TARGET / 10)
    assert sizes[:4] == [1, 2, 4, 8]
    assert 9 <= max(sizes) <= 11
    assert made.counters["fused"] == 200 - len(sizes)


def test_large_units_are_not_fused() -> None:
    """What lasts longer than the target runs alone; so does what has a time-out, however small."""
    for settings in ({"expected": 2 * TARGET}, {"expected": TARGET / 100, "timeout": 1.0}):
        made, [worker] = schedule(many(10, **settings), crew=1, high=1)
        seconds = settings["expected"]
        while batch := made.take(worker, 0.0):
            assert len(batch) == 1
            end(made, worker, seconds)
        assert len(made.values) == 10


def test_fusing_leaves_work_for_others() -> None:
    """With few units ready a worker takes its share of them, not all."""
    made, (one, _two) = schedule(many(4, expected=TARGET / 100), crew=2)
    one.reach = MOST_FUSED
    one.own.extendleft([1, 3])
    assert len(made.take(one, 0.0)) <= 3


def test_a_guess_follows_what_is_measured() -> None:
    """The first measurement counts alone; later ones weigh a fifth, and an outlier no more than its limit."""
    kind = Kind("k", TARGET, measured=False)
    kind.note(1.0)
    assert kind.mean == 1.0
    kind.note(2.0)
    assert abs(kind.mean - 1.2) < 1e-9
    kind.note(1e9)
    assert kind.mean <= 1.2 * OUTLIER


def test_a_large_unit_that_can_be_split_is() -> None:
    """Once its kind is known to last far over target x workers; a merge joins its parts, and its dependant waits for that."""
    unit = Unit("w", whole, (), None, parts, sum, expected=1.0)
    made, (one, two) = schedule([unit, Unit("after", add, ("w",))])
    assert names(made, made.take(one, 0.0)) == ["w"]
    assert one.divide == 8
    assert made.spread(one, made.units[0].split(one.divide))
    assert made.ready == 8
    while made.ready or one.batch or two.batch:
        for worker in (one, two):
            if 0 in made.take(worker, 0.0):
                assert made.merging[0] == [1] * 8
                assert worker.divide == 0
            end(made, worker)
    assert (made.counters["split"], made.counters["parts"]) == (1, 8)
    assert len(made.values) == 2
    assert {span.unit for span in made.record(1.0).gantt} == {*(f"w[{n}]" for n in range(8)), "w[merge]", "after"}


def test_what_cannot_be_split_is_asked_once() -> None:
    """A kind that answered None runs whole from then on."""
    made, [worker] = schedule(many(2, expected=1.0), crew=1)
    made.take(worker, 0.0)
    assert worker.divide
    assert not made.spread(worker, None)
    end(made, worker, 1.0)
    made.take(worker, 0.0)
    assert not worker.divide


def test_small_units_and_single_workers_need_no_splitting() -> None:
    """Below four targets a worker, and where nobody would share the parts, units stay whole."""
    small = Kind("k", 4 * TARGET * 2, measured=True)
    assert small.parts(options()) == 1
    large = Kind("k", 10.0, measured=True)
    assert large.parts(options(high=1, low=1)) == 1
    assert large.parts(options()) == 8


def test_the_pool_follows_the_work() -> None:
    """A worker for each target's worth of ready work, within the bounds; none for less than is worth waking one."""
    limits = options(low=2, high=8)
    assert crew_wanted(limits, busy=0, ready=0, seconds=0.0) == 2
    assert crew_wanted(limits, busy=1, ready=100, seconds=3 * TARGET) == 4
    assert crew_wanted(limits, busy=1, ready=1, seconds=9.0) == 2
    assert crew_wanted(limits, busy=1, ready=100, seconds=9.0) == 8
    assert crew_wanted(limits, busy=3, ready=100, seconds=0.1 * TARGET) == 3


def test_what_was_lost_runs_once_more_and_alone() -> None:
    """Then it is unknown; with repeats switched off it is so at once."""
    for repeats in (True, False):
        made, [worker] = schedule(many(3, expected=TARGET / 100), crew=1, repeats=repeats)
        worker.reach = 8
        first, second, third = made.take(worker, 0.0)
        made.settle(worker, [Outcome(first, None, 1, 0.0, 0.1), Outcome(second, Lost(), None, 0.0, 0.1)], [third])
        if repeats:
            runs = []
            while batch := made.take(worker, 0.0):
                runs.append(batch)
                made.settle(worker, [Outcome(n, Lost() if n == second else None, 1, 0.0, 0.1) for n in batch])
            assert [second] in runs
        else:
            made.take(worker, 0.0)
            end(made, worker)
        assert isinstance(made.failures[second], UnknownOutcome)
        assert sorted(made.values) == [first, third]
        assert made.over


def test_late_news_of_a_worker_that_was_given_up_is_dropped() -> None:
    """What it was in is unknown, what it had not begun runs elsewhere, and nothing runs twice."""
    made, (one, two) = schedule(many(3, expected=TARGET / 100), crew=2)
    one.reach, one.own, two.own = 8, type(one.own)([2, 1, 0]), type(one.own)()
    first, hanging = made.take(one, 0.0)
    one.outcomes.append(Outcome(first, None, 1, 0.0, 0.1))
    assert made.give_up(one, "it hangs", 1.0)
    end(made, one)
    one.outcomes.append(Outcome(hanging, None, 1, 0.0, 9.0))
    made.settle(one, one.outcomes)
    assert isinstance(made.failures[hanging], UnknownOutcome)
    made.take(two, 1.0)
    end(made, two)
    assert made.over
    assert made.record(2.0).counters["abandoned"] == 1
    assert len(made.values) == 2
