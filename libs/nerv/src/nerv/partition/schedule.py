# SPDX-License-Identifier: Apache-2.0
"""Who runs what next, as plain decisions: no thread, process, task or clock is touched here.

Each worker has a deque: it takes from the right end what it put there last, and thieves take half of it from the left end.
What exceeds a deque's bound waits in one common backlog. Threads call this under one lock, once a hop.

This module is long because every method works on the same few tables, and the states of a unit must be seen together.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from nerv.errors import UnknownOutcome
from nerv.partition.plan import Plan
from nerv.partition.record import Progress, RunRecord, Span
from nerv.partition.tuning import MOST_FUSED, Kind, Options, crew_wanted
from nerv.partition.worker import Lost, Outcome, Worker
from nerv.protocols import QuantumUnit

POOL_CHANGES = 10_000  # changes of the pool's size that a record holds; later ones are left out


class _Group:
    """A unit that was split: what its parts gave so far."""

    __slots__ = ("left", "results", "seconds")

    def __init__(self, count: int) -> None:
        self.left = count
        self.results: list[Any] = [None] * count
        self.seconds = 0.0


class Schedule:
    """One run. Units are numbers: those of the plan first, then the parts of split ones."""

    def __init__(self, plan: Plan, options: Options, began: float) -> None:
        self.options = options
        self.total = len(plan.units)
        self.units: list[QuantumUnit] = list(plan.units)
        self.names = list(plan.names)
        self.needs: list[tuple[int, ...]] = list(plan.needs)
        self.values: dict[int, Any] = {}
        self.failures: dict[int, BaseException] = {}
        self.merging: dict[int, list[Any]] = {}
        self.workers: list[Worker] = []
        self.timeouts: dict[int, float] = {}
        self.stopping = ""  # why the run is to end early
        self.ready = 0
        self.running = 0
        self.counters = dict.fromkeys(
            ("hops", "fused", "split", "parts", "steals", "stolen", "again", "lost", "killed", "abandoned"), 0
        )
        self.began = began
        self._spans: list[Span] = []
        self._pool: list[tuple[float, int]] = []
        self._sorter = plan.sorter
        self._seconds = 0.0  # what the ready units will take, as far as is known
        self._backlog: deque[int] = deque()
        self._alone: set[int] = set()
        self._kinds: list[Kind] = []
        self._known: dict[str, Kind] = {}
        self._groups: dict[int, _Group] = {}
        self._parents: dict[int, tuple[int, int]] = {}  # of a part: the whole, and which part
        self._repeated: set[int] = set()
        self._hired = 0
        for number, unit in enumerate(self.units):
            self._learn(number, unit)

    # --- the crew ---

    def hire(self, now: float) -> Worker:
        """One worker more."""
        worker = Worker(self._hired)
        self._hired += 1
        self.workers.append(worker)
        self._note_pool(now)
        return worker

    def dismiss(self, worker: Worker, now: float) -> None:
        """One worker less; what it had for itself goes to the backlog."""
        if worker in self.workers:
            self.workers.remove(worker)
            self._backlog.extend(worker.own)
            worker.own.clear()
            self._note_pool(now)

    def wanted(self) -> int:
        """How many workers there should be now."""
        busy = sum(1 for worker in self.workers if not worker.waiting)
        return crew_wanted(self.options, busy=busy, ready=self.ready, seconds=self._seconds)

    def _note_pool(self, now: float) -> None:
        if len(self._pool) < POOL_CHANGES:
            self._pool.append((now - self.began, len(self.workers)))

    # --- from ready to running ---

    def deal(self) -> int:
        """Make the first units ready, and answer how many workers to hire for them; `deal_to` gives them out."""
        for number in self._sorter.get_ready():
            self._put(number, None)
        return min(self.wanted(), self.ready)

    def deal_to(self, workers: Sequence[Worker]) -> None:
        """Give the ready units out to the first workers, one after the other, as far as their bounds allow."""
        while self._backlog and any(len(worker.own) < self.options.queue for worker in workers):
            for worker in workers:
                if self._backlog and len(worker.own) < self.options.queue:
                    # A worker takes from the right: what comes first in the plan is to run first.
                    worker.own.appendleft(self._backlog.popleft())

    def take(self, worker: Worker, now: float) -> list[int]:
        """What `worker` runs next, in this order; nothing when there is nothing for it, or the run is ending."""
        worker.batch, worker.outcomes, worker.divide, worker.reason = [], [], 0, ""
        worker.returning = False
        if self.stopping:
            return worker.batch
        while not worker.batch and (worker.own or self._refill(worker) or self._steal(worker)):
            worker.batch = self._fuse(worker)
        if worker.batch:
            worker.began = now
            self.running += len(worker.batch)
            worker.hop = self.counters["hops"]
            self.counters["hops"] += 1
        return worker.batch

    def _fuse(self, worker: Worker) -> list[int]:
        batch: list[int] = []
        room = self.options.target
        most = min(worker.reach, 1 + self.ready // max(1, len(self.workers)))
        own, kinds, alone = worker.own, self._kinds, self._alone
        while own and len(batch) < most and room > 0:
            number = own[-1]
            kind = kinds[number]
            if batch and (kind.mean > room or number in alone):
                break
            own.pop()
            self._no_longer_ready(kind)
            if number >= self.total and self._parents[number][0] not in self._groups:
                continue  # the whole has failed already
            batch.append(number)
            room -= kind.mean
            if number in alone:
                break
        if len(batch) == 1:
            self._consider_splitting(worker, batch[0])
        worker.reach = min(MOST_FUSED, 2 * worker.reach)
        return batch

    def _consider_splitting(self, worker: Worker, number: int) -> None:
        if number < self.total and number not in self.merging and number not in self._repeated:
            parts = self._kinds[number].parts(self.options)
            worker.divide = parts if parts > 1 else 0

    def _refill(self, worker: Worker) -> bool:
        share = -(-len(self._backlog) // max(1, len(self.workers)))
        for _ in range(min(share, self.options.queue)):
            worker.own.appendleft(self._backlog.popleft())
        return bool(worker.own)

    def _steal(self, worker: Worker) -> bool:
        if not self.options.stealing or len(self.workers) < 2:
            return False
        victim = max(self.workers, key=lambda other: len(other.own))
        count = (len(victim.own) + 1) // 2
        if not count:
            return False
        for _ in range(count):
            worker.own.append(victim.own.popleft())
        self.counters["steals"] += 1
        self.counters["stolen"] += count
        return True

    def _put(self, number: int, worker: Worker | None) -> None:
        kind = self._kinds[number]
        kind.ready += 1
        self.ready += 1
        self._seconds += kind.mean
        if worker is not None and len(worker.own) < self.options.queue:
            worker.own.append(number)
        else:
            self._backlog.append(number)

    def _no_longer_ready(self, kind: Kind) -> None:
        kind.ready -= 1
        self.ready -= 1
        self._seconds = self._seconds - kind.mean if self.ready else 0.0

    # --- from running to an end ---

    def settle(self, worker: Worker, outcomes: Sequence[Outcome], left: Sequence[int] = ()) -> None:
        """`worker` ran `outcomes` of its batch and gives `left` back. Late news of one that was given up is dropped."""
        if worker.gone:
            return
        self.running -= len(worker.batch)
        worker.batch = []
        self.counters["fused"] += max(0, len(outcomes) - 1)
        finished = []
        for outcome in outcomes:
            self._note(worker, outcome)
            if outcome.error is not None:
                self._fail(worker, outcome.unit, outcome.error)
            elif outcome.unit in self._parents:
                self._part_done(worker, outcome)
            else:
                self._done(outcome)
                finished.append(outcome.unit)
        for number in reversed(left):
            self._put(number, worker)
        if finished and not self.stopping:
            self._sorter.done(*finished)
            for number in self._sorter.get_ready():
                self._put(number, worker)

    def spread(self, worker: Worker, parts: Sequence[QuantumUnit] | None) -> bool:
        """Put the parts of the worker's one unit in its place. False when there are none, so that it must be run whole."""
        whole = worker.batch[0]
        if not parts:
            self._kinds[whole].solid = True
            worker.divide = 0
            return False
        self.running -= 1
        worker.batch = []
        self._groups[whole] = _Group(len(parts))
        self.counters["split"] += 1
        self.counters["parts"] += len(parts)
        takers = [worker] if self.options.stealing else self.workers
        for place, part in enumerate(parts):
            number = len(self.units)
            self.units.append(part)
            self.names.append(f"{self.names[whole]}[{place}]")
            self.needs.append(self.needs[whole])
            self._parents[number] = (whole, place)
            self._learn(number, part)
            self._put(number, takers[place % len(takers)])
        return True

    def give_up(self, worker: Worker, reason: str, now: float) -> bool:
        """Stop waiting for `worker`: what it was in is unknown from now on, and what it had not begun is free again.

        False, and nothing is done, when it is about to settle.
        """
        done = worker.outcomes[: len(worker.batch)]
        if worker.returning or len(done) == len(worker.batch):
            return False
        hanging, left = worker.batch[len(done)], worker.batch[len(done) + 1 :]
        began = done[-1].ended if done else worker.began
        self.settle(worker, [*done, Outcome(hanging, UnknownOutcome(reason), None, began, now)], left)
        worker.gone = True
        self.counters["abandoned"] += 1
        self.dismiss(worker, now)
        return True

    def stop(self, reason: str) -> None:
        """Begin nothing more, for this reason; the first one counts."""
        self.stopping = self.stopping or reason

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing will."""
        return not self.running and (bool(self.stopping) or not self.ready)

    def overdue(self, now: float) -> list[tuple[Worker, str]]:
        """Workers whose unit has used up its time, and what to say of it."""
        return [
            (worker, f"unit {self.names[worker.batch[0]]} was still running after its {limit:g} seconds")
            for worker in self.workers
            if worker.batch
            and not worker.reason
            and (limit := self.timeouts.get(worker.batch[0])) is not None
            and now - worker.began > limit
        ]

    def until_overdue(self, now: float) -> float:
        """Seconds until the next unit has used up its time; infinite when none has a time-out."""
        if not self.timeouts:
            return math.inf
        ends = [
            worker.began + self.timeouts[worker.batch[0]]
            for worker in self.workers
            if worker.batch and not worker.reason and worker.batch[0] in self.timeouts
        ]
        return max(0.001, min(ends, default=math.inf) - now)

    def _note(self, worker: Worker, outcome: Outcome) -> None:
        name = self.names[outcome.unit]
        if outcome.unit in self.merging:
            name = f"{name}[merge]"
        span = Span(name, worker.number, outcome.began - self.began, outcome.ended - self.began, worker.hop)
        self._spans.append(span)

    def _done(self, outcome: Outcome) -> None:
        number, seconds = outcome.unit, outcome.ended - outcome.began
        if self.merging and number in self.merging:
            seconds += self._groups.pop(number).seconds
            del self.merging[number]
        self.values[number] = outcome.value
        kind = self._kinds[number]
        self._seconds += kind.ready * kind.note(seconds)

    def _part_done(self, worker: Worker, outcome: Outcome) -> None:
        whole, place = self._parents[outcome.unit]
        group = self._groups.get(whole)
        if group is None:
            return
        kind = self._kinds[outcome.unit]
        self._seconds += kind.ready * kind.note(outcome.ended - outcome.began)
        group.left -= 1
        group.results[place] = outcome.value
        group.seconds += outcome.ended - outcome.began
        if not group.left:
            self.merging[whole] = group.results
            self._alone.add(whole)
            self._put(whole, worker)

    def _fail(self, worker: Worker, number: int, error: BaseException) -> None:
        if isinstance(error, Lost):
            if self.options.repeats and number not in self._repeated and not self.stopping:
                self._repeated.add(number)
                self._alone.add(number)  # should it kill its process again, it takes no other unit with it
                self.counters["again"] += 1
                self._put(number, worker)
                return
            error = UnknownOutcome(f"the process died that ran unit {self.names[number]}; whether it ended is unknown")
        whole = self._parents[number][0] if number in self._parents else number
        self._groups.pop(whole, None)
        self.merging.pop(whole, None)
        if whole not in self.failures:
            self.failures[whole] = error
            if self.options.cancels:
                self.stop(f"unit {self.names[whole]} failed")

    def _learn(self, number: int, unit: QuantumUnit) -> None:
        name = getattr(unit, "kind", "") or type(unit).__qualname__
        kind = self._known.get(name)
        if kind is None:
            expected = getattr(unit, "expected", None)
            guess = self.options.target if expected is None else float(expected)
            kind = self._known[name] = Kind(name, guess, measured=expected is not None)
        self._kinds.append(kind)
        timeout = getattr(unit, "timeout", None)
        if timeout is not None:
            self.timeouts[number] = timeout
            self._alone.add(number)

    # --- what is told of it ---

    def progress(self, now: float) -> Progress:
        """The run at this moment."""
        ended = self.over
        failed = len(self.failures) + (len(self._unfinished()) if ended else 0)
        return Progress(
            total=self.total,
            done=len(self.values),
            failed=failed,
            cancelled=self.total - len(self.values) - failed if ended else 0,
            ready=0 if ended else self.ready,
            running=self.running,
            workers=len(self.workers),
            seconds=now - self.began,
        )

    def record(self, now: float) -> RunRecord:
        """What the run, which is over, leaves."""
        for number, text in self._unfinished().items():
            self.failures[number] = UnknownOutcome(f"unit {self.names[number]} {text}: {self.stopping}")
        names = self.names
        return RunRecord(
            results={names[number]: self.values[number] for number in range(self.total) if number in self.values},
            failures={names[number]: error for number, error in self.failures.items()},
            cancelled=self._cancelled(),
            gantt=tuple(self._spans),
            pool=tuple(self._pool),
            counters=dict(self.counters),
            seconds=now - self.began,
        )

    def _unfinished(self) -> dict[int, str]:
        """Units that had begun when the run was stopped, and are not running: what is to be said of them."""
        lost = {
            number: "was lost with its process and not run again" for number in self._repeated if number < self.total
        }
        split = {number: f"was broken off with {group.left} parts to go" for number, group in self._groups.items()}
        ended = self.values.keys() | self.failures.keys()
        return {number: text for number, text in {**lost, **split}.items() if number not in ended}

    def _cancelled(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for number in range(self.total):
            if number in self.values or number in self.failures:
                continue
            failed = [need for need in self.needs[number] if need in self.failures]
            reason = f"it needs {self.names[failed[0]]}, which failed" if failed else self.stopping
            found[self.names[number]] = reason or "what it needs was cancelled"
        return found
