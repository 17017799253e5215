# SPDX-License-Identifier: Apache-2.0
"""What the books of the bank must say at rest. Pure; it reads events, and nothing that the scheduler makes of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

import orjson

from nerv.types import Event, EventType, parse_instant
from nerv.workflows import Dag

RULES = ("total", "booked once", "one result", "ended", "order", "one at a time")
LEGS = 2  # of a transfer: it is taken and it is given


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was asked for."""

    source: str
    target: str
    amount: int


@dataclass(frozen=True, slots=True)
class Booking:
    """What an account says. `mark` is the number of the task that booked it, `seen` are those that it was given."""

    account: str
    transfer: str
    amount: int
    mark: str
    seen: tuple[str, ...]


@dataclass(slots=True)
class Books:
    """All that was found. `runs` are the events of their streams."""

    bookings: list[Booking] = field(default_factory=list)
    runs: dict[str, list[Event[bytes]]] = field(default_factory=dict)


def check(wanted: Mapping[str, Sequence[Transfer]], books: Books) -> dict[str, list[str]]:
    """The violations by rule; `wanted` are the transfers of each run that was acknowledged."""
    violations: dict[str, list[str]] = {rule: [] for rule in RULES}
    total = sum(booking.amount for booking in books.bookings)
    if total:
        violations["total"].append(f"there is {total:+} more than before")
    by_transfer: dict[str, list[Booking]] = {}
    for booking in books.bookings:
        by_transfer.setdefault(booking.transfer, []).append(booking)
    for run, transfers in wanted.items():
        events = books.runs.get(run, [])
        result = _result(events)
        if result is None:
            violations["ended"].append(f"{run} did not complete")
        for number, transfer in enumerate(transfers):
            found = by_transfer.pop(f"{run}/{number}", [])
            violations["booked once"] += _booked(f"{run}/{number}", transfer, found)
            if result is not None and len(found) == LEGS:
                violations["one result"] += _one_result(f"{run}/{number}", found, result[number])
        violations["order"] += _order(run, events)
    violations["booked once"] += [
        f"{name}: nobody asked for it" for name in by_transfer if name.split("/")[0] in wanted
    ]
    violations["one at a time"] = _crowded(wanted, books)
    return violations


def _crowded(wanted: Mapping[str, Sequence[Transfer]], books: Books) -> list[str]:
    """Of each account one withdrawal at a time, of those whose results count."""
    taken: dict[str, list[tuple[datetime, datetime, str]]] = {}
    for run, transfers in wanted.items():
        spans = _spans(books.runs.get(run, []))
        for number, transfer in enumerate(transfers):
            name = f"withdraw#{number + 1}" if number else "withdraw"
            if name in spans:
                taken.setdefault(transfer.source, []).append((*spans[name], f"{run}/{number}"))
    found = []
    for account, withdrawals in taken.items():
        for one, other in pairwise(sorted(withdrawals)):
            if other[0] < one[1]:
                found.append(f"{account}: {other[2]} began at {other[0]}, before {one[2]} had ended at {one[1]}")
    return found


def _booked(name: str, transfer: Transfer, found: Sequence[Booking]) -> list[str]:
    expected = Counter([(transfer.source, -transfer.amount), (transfer.target, transfer.amount)])
    actual = Counter((booking.account, booking.amount) for booking in found)
    if actual == expected:
        return []
    return [f"{name}: missing {dict(expected - actual)}, too many {dict(actual - expected)}"]


def _one_result(name: str, found: Sequence[Booking], result: Sequence[str]) -> list[str]:
    """Who used a task's result must have used the same one: the account that gives, and the end of the run."""
    taken, given = sorted(found, key=lambda booking: booking.amount)
    if not given.seen or given.seen[0] != taken.mark:
        return [f"{name}: given for another withdrawal than the one that was booked"]
    if [*given.seen, given.mark] != list(result):
        return [f"{name}: the run's end saw other results than the account"]
    return []


def _result(events: Sequence[Event[bytes]]) -> Any:
    for event in events:
        if event.type == EventType.RUN_COMPLETED:
            return orjson.loads(event.data)["result"]
    return None


def _order(run: str, events: Sequence[Event[bytes]]) -> list[str]:
    """No task may have begun before all that it waits for had ended."""
    if not events:
        return []
    dag = Dag.decode(orjson.loads(events[0].data)["dag"])
    spans = _spans(events)
    return [
        f"{run}: {name} began before {parent} had ended"
        for name, (began, _) in spans.items()
        for parent in dag.nodes[name].after
        if parent not in spans or spans[parent][1] > began
    ]


def _spans(events: Sequence[Event[bytes]]) -> dict[str, tuple[datetime, datetime]]:
    """When each node began and ended, by the first that history has of it; of a chain only what used what stands."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for event in events:
        data = orjson.loads(event.data)
        if event.type == EventType.TASK_COMPLETED:
            spans.setdefault(data["node"], (parse_instant(data["began"]), event.time))
        for chain in data["chains"] if event.type == EventType.QUANTUM_COMPLETED else ():
            for entry in chain:
                if entry["node"] in spans or "error" in entry:
                    break
                spans[entry["node"]] = parse_instant(entry["began"]), parse_instant(entry["ended"])
    return spans
