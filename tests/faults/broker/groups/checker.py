# SPDX-License-Identifier: Apache-2.0
"""What must hold of everything that members of a group saw, whatever died. Pure.

A record is `(partition, offset)`. `Handled` is one run of a handler that succeeded; failed ones are not told of, for they
promise nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Record = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Handled:
    """A handler ran over a record and succeeded; seconds on one clock."""

    record: Record
    began: float
    ended: float


@dataclass(slots=True)
class Course:
    """What there was, and what became of it. `records` maps each to its key; `dead` are those among the dead letters."""

    records: Mapping[Record, str | None]
    poison: frozenset[Record] = frozenset()
    handled: list[Handled] = field(default_factory=list)
    dead: frozenset[Record] = frozenset()


def lost(course: Course) -> list[str]:
    """Records that nobody has handled and that are not among the dead letters."""
    done = {one.record for one in course.handled}
    return [
        f"{record} of key {key}" for record, key in sorted(course.records.items()) if record not in done | course.dead
    ]


def out_of_order(course: Course) -> list[str]:
    """First handlings that began before an earlier record of the key was handled, or although it is dead."""
    first = _first(course.handled)
    found = []
    for key, records in _by_key(course.records).items():
        before: tuple[Record, float] | None = None
        for record in records:
            began, ended = first.get(record, (None, None))
            if began is not None and before is not None and began < before[1]:
                found.append(f"{record} of key {key} began before {before[0]} was handled")
            before = (record, float("inf") if ended is None else max(ended, before[1] if before else 0.0))
    return found


def poisoned(course: Course) -> list[str]:
    """Records that nobody can handle, and that somebody has, or that are not among the dead letters."""
    done = {one.record for one in course.handled}
    return [str(record) for record in sorted(course.poison) if record in done or record not in course.dead]


RULES = {"lost": lost, "order": out_of_order, "poison": poisoned}


def check(course: Course) -> dict[str, list[str]]:
    """The violations of each rule."""
    return {name: rule(course) for name, rule in RULES.items()}


def _first(handled: Iterable[Handled]) -> dict[Record, tuple[float, float]]:
    """When the first handling of each record began, and when the first one to succeed had ended."""
    found: dict[Record, tuple[float, float]] = {}
    for one in handled:
        began, ended = found.get(one.record, (one.began, one.ended))
        found[one.record] = (min(began, one.began), min(ended, one.ended))
    return found


def _by_key(records: Mapping[Record, str | None]) -> Mapping[tuple[int, str], Sequence[Record]]:
    """The records of each key of each partition, in order; those without a key have none."""
    found: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for record in sorted(records):
        key = records[record]
        if key is not None:
            found[record[0], key].append(record)
    return found
