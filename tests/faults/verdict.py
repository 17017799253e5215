# SPDX-License-Identifier: Apache-2.0
"""What a fault run saw, and what must hold of it. Pure, so that seeded bugs prove the checker."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Invariant:
    """One property over so many operations and faults; `vacuous` says why the run proved nothing."""

    name: str
    operations: int
    faults: int
    violations: Sequence[str]
    vacuous: str = ""

    @property
    def holds(self) -> bool:
        """No violation, in a run that could have shown one."""
        return not self.violations and not self.vacuous

    def line(self) -> str:
        """The line for people and machines."""
        verdict = "ok" if self.holds else f"broken ({self.vacuous})" if self.vacuous else "broken"
        return (
            f"FAULT {self.name} ops={self.operations} faults={self.faults} violations={len(self.violations)} {verdict}"
        )


@dataclass(slots=True)
class Observed:
    """Appends as their clients saw them, by stream: done at a version, refused, or unknown."""

    done: dict[str, dict[str, int]] = field(default_factory=dict)
    refused: dict[str, set[str]] = field(default_factory=dict)
    unknown: dict[str, set[str]] = field(default_factory=dict)
    in_flight_at_fault: list[int] = field(default_factory=list)

    def count(self, kind: Mapping[str, Iterable[str]]) -> int:
        """How many appends ended so."""
        return sum(len(list(ids)) for ids in kind.values())

    @property
    def operations(self) -> int:
        """All appends."""
        return self.count(self.done) + self.count(self.refused) + self.count(self.unknown)


Found = Mapping[str, Sequence[tuple[str, int]]]
"""What history holds afterwards: event ids and versions of each stream, in the order read."""


def lost(observed: Observed, found: Found) -> list[str]:
    """Acknowledged events that are not there at the version that was acknowledged."""
    complaints = []
    for stream, ids in observed.done.items():
        there = dict(found.get(stream, ()))
        complaints += [
            f"{stream}: {event_id} was acknowledged at {version}, history has it at {there.get(event_id)}"
            for event_id, version in ids.items()
            if there.get(event_id) != version
        ]
    return complaints


def twice(found: Found) -> list[str]:
    """Event ids that a stream holds more than once."""
    return [
        f"{stream}: {event_id} is there {count} times"
        for stream, events in found.items()
        for event_id, count in Counter(event_id for event_id, _ in events).items()
        if count > 1
    ]


def gaps(found: Found) -> list[str]:
    """Streams whose versions are not 1, 2, 3, ... in the order read."""
    return [
        f"{stream}: versions are not 1 to {len(events)}"
        for stream, events in found.items()
        if [version for _, version in events] != list(range(1, len(events) + 1))
    ]


def invented(observed: Observed, found: Found) -> list[str]:
    """Events in history that were refused, or that nobody wrote."""
    complaints = []
    for stream, events in found.items():
        allowed = observed.done.get(stream, {}).keys() | observed.unknown.get(stream, set())
        complaints += [f"{stream}: {event_id} must not be there" for event_id, _ in events if event_id not in allowed]
    return complaints


def vacuous(observed: Observed, faults: int, *, least_in_flight: int, most_unknown: float) -> str:
    """Why the run proves nothing; empty when it does prove something."""
    if len(observed.in_flight_at_fault) < faults or not faults:
        return f"only {len(observed.in_flight_at_fault)} of {faults} faults were made"
    idle = sum(1 for count in observed.in_flight_at_fault if count < least_in_flight)
    if idle * 10 > faults:
        return f"{idle} of {faults} faults hit fewer than {least_in_flight} appends in flight"
    if not observed.count(observed.done):
        return "no append was acknowledged"
    share = observed.count(observed.unknown) / observed.operations
    if share > most_unknown:
        return f"{share:.1%} of the outcomes are unknown"
    return ""
