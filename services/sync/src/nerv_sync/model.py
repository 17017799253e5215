# SPDX-License-Identifier: Apache-2.0
"""The decisions of a sync run, pure: from a diff to append requests, what the guard says, and what came of it."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from nerv.errors import IdConflict, NervError, Unavailable, UnknownOutcome
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv.sync.change import Action, Change
from nerv.sync.current import Current, event_type
from nerv.sync.errors import DeletesUnconfirmed
from nerv.types import Event

SHOWN = 500  # changes that a document holds
SHOWN_BYTES = 160 * 1024  # of rows in a document: it is one event of the journal, whose limit is 256 KiB
PROBLEMS_SHOWN = 50
BATCH_EVENTS = 500
BATCH_BYTES = 512 * 1024  # of data; a request's body may have 1 MiB


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asked for. The same run with other options is another order, and refused."""

    source: str
    run: str
    dry_run: bool = False
    confirm_deletes: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A change and the append that makes it, which holds only at the version that the diff has seen."""

    change: Change
    request: AppendRequest


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run would do. `present` counts the entities that history has now."""

    steps: Sequence[Step]
    present: int
    unchanged: int

    def summary(self) -> dict[str, int]:
        """How many of each action."""
        counts = Counter(step.change.action for step in self.steps)
        return {action.value: counts[action] for action in Action} | {"unchanged": self.unchanged}


def make_plan(
    source: str, category: str, changes: Sequence[Change], entities: Mapping[str, Current], instant: datetime
) -> Plan:
    """The steps for a diff. The same source content over the same history gives the same steps, ids and times included."""
    steps = [_step(source, category, change, entities.get(change.key), instant) for change in changes]
    present = sum(1 for current in entities.values() if current.content is not None)
    touched = sum(1 for change in changes if change.action is not Action.CREATE)
    return Plan(steps, present, present - touched)


def _step(source: str, category: str, change: Change, current: Current | None, instant: datetime) -> Step:
    stream = f"{category}-{change.key}"
    version = current.version if current else 0
    kind = event_type(category, change.action)
    data = _data(change)
    event = Event(
        id=event_id(source, stream, version, kind, data),
        source=f"nerv:sync:{source}",
        type=kind,
        # A file that is older than what history has must not slip its change in before it (as-of folds go by time).
        time=max(instant, current.time) if current else instant,
        data=data,
    )
    return Step(change, AppendRequest(stream, [event], Expected(Expect.EXACT, version)))


def _data(change: Change) -> bytes:
    """The whole row after; of a removed entity its key and the row before."""
    if change.after is not None:
        return change.after
    return orjson.dumps({"before": orjson.Fragment(change.before or b"null"), "key": change.key})


def event_id(source: str, stream: str, version: int, kind: str, data: bytes) -> str:
    """The identity of a change: a hash of source, stream, seen version, type and content. 32 hexadecimal digits.

    A plan that is made and applied again repeats the ids of what it had not yet seen done, and so changes nothing twice.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (source.encode(), stream.encode(), str(version).encode(), kind.encode(), data):
        # Each part is preceded by its length, so that no two lists of parts make the same bytes.
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def needs_confirmation(plan: Plan, guard: float) -> bool:
    """Whether the share of deletes is beyond the guard."""
    return plan.summary()["delete"] > guard * plan.present


def check_deletes(plan: Plan, guard: float, confirmed: bool) -> None:
    """Raise DeletesUnconfirmed for more deletes than the guard allows, unless a person has confirmed them (rule 18)."""
    if confirmed or not needs_confirmation(plan, guard):
        return
    deletes = plan.summary()["delete"]
    raise DeletesUnconfirmed(
        f"{deletes} of {plan.present} would be deleted, more than {guard:.0%}; nothing was changed. "
        "Look at a dry run, and repeat with confirm_deletes if that is right",
        errors=[{"delete": deletes, "present": plan.present, "guard": guard}],
    )


def batches(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """The steps in messages that are within the limits of a request."""
    start, size = 0, 0
    for number, step in enumerate(steps):
        weight = sum(len(event.data) for event in step.request.events)
        if number > start and (number - start >= BATCH_EVENTS or size + weight > BATCH_BYTES):
            yield steps[start:number]
            start, size = number, 0
        size += weight
    if start < len(steps):
        yield steps[start:]


class Tally:
    """What became of the steps so far: done, refused or unknown; `untried` are those that an unknown outcome left over."""

    def __init__(self) -> None:
        self.done = 0
        self.refused = 0
        self.unknown = 0
        self.untried = 0
        self._problems: list[dict[str, Any]] = []

    def add(self, steps: Sequence[Step], outcomes: Sequence[AppendOutcome]) -> None:
        """Count the outcomes of a batch. Raises Unavailable for a step that certainly did not happen: the run may go on later."""
        missed: Unavailable | None = None
        for step, outcome in zip(steps, outcomes, strict=True):
            # The id stands for source, stream, version, type and data. If it is there, so is the change: a run that went on
            # elsewhere made it, and gave it another time.
            if isinstance(outcome, Appended | IdConflict):
                self.done += 1
            elif isinstance(outcome, Unavailable):
                missed = outcome
            elif isinstance(outcome, UnknownOutcome):
                self.unknown += 1
                self._note(step, "unknown", outcome)
            else:
                self.refused += 1
                self._note(step, "refused", outcome)
        if missed is not None:
            raise missed

    def _note(self, step: Step, verdict: str, error: NervError) -> None:
        if len(self._problems) < PROBLEMS_SHOWN:
            self._problems.append(
                {
                    "action": step.change.action.value,
                    "stream": step.request.stream,
                    "outcome": verdict,
                    "problem": type(error).__name__,
                    "detail": error.detail,
                }
            )

    @property
    def status(self) -> str:
        """`done`, `conflicts` when a step was refused, `unknown` when the outcome of one is not known."""
        if self.unknown:
            return "unknown"
        return "conflicts" if self.refused else "done"

    def counts(self) -> dict[str, int]:
        """The counts by outcome."""
        return {"done": self.done, "refused": self.refused, "unknown": self.unknown, "untried": self.untried}

    def document(self) -> dict[str, Any]:
        """The counts, and the first of the steps that were not done."""
        return {"outcomes": self.counts(), "problems": self._problems}


def running_document(order: Order) -> dict[str, Any]:
    """A run that is not over."""
    return {
        "run": order.run,
        "source": order.source,
        "dry_run": order.dry_run,
        "confirm_deletes": order.confirm_deletes,
        "status": "running",
    }


def planned_document(order: Order, plan: Plan, guard: float) -> dict[str, Any]:
    """What a dry run answers."""
    return running_document(order) | {
        "status": "planned",
        "needs_confirmation": needs_confirmation(plan, guard),
        "summary": plan.summary(),
        **_shown(plan.steps),
    }


def applied_document(order: Order, plan: Plan, tally: Tally, guard: float) -> dict[str, Any]:
    """What a run that has changed something answers, or that had nothing to change."""
    return planned_document(order, plan, guard) | {"status": tally.status} | tally.document()


def refused_document(order: Order, error: NervError) -> dict[str, Any]:
    """A run that was refused before it changed anything. The problem is kept, for whoever repeats the order."""
    problem = error.problem()
    problem["errors"] = problem.get("errors", [])[:PROBLEMS_SHOWN]
    return running_document(order) | {"status": "refused", "problem": problem}


def _shown(steps: Sequence[Step]) -> dict[str, Any]:
    """The first changes, as many as one event of the journal holds."""
    shown, size = [], 0
    for step in steps[:SHOWN]:
        change = step.change
        size += len(change.before or b"") + len(change.after or b"") + len(step.request.stream) + 80
        if size > SHOWN_BYTES:
            break
        shown.append(
            {
                "action": change.action.value,
                "stream": step.request.stream,
                "before": _row(change.before),
                "after": _row(change.after),
            }
        )
    return {"changes": shown, "truncated": len(shown) < len(steps)}


def _row(content: bytes | None) -> Any:
    return None if content is None else orjson.loads(content)
