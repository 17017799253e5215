# SPDX-License-Identifier: Apache-2.0
"""What publishers and subscribers of a run saw, and what the topic holds in the end. Pure data; instants are of one clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

Place = tuple[int, int]  # partition, offset


class End(Enum):
    """How a publish ended for its client."""

    DONE = "done"
    REFUSED = "refused"  # surely not written
    UNKNOWN = "unknown"


class Sent(NamedTuple):
    """One event in one request; a repeat is another. `number` counts the events of a key as they were first sent."""

    event_id: str
    key: str
    number: int
    end: End
    place: Place | None = None
    duplicate: bool = False


class Forgery(NamedTuple):
    """An event that used a known id for other content."""

    event_id: str
    done: bool


class Polled(NamedTuple):
    """An event as a subscriber got it."""

    place: Place
    event_id: str


@dataclass(slots=True)
class Course:
    """What one subscriber got, in order, over all its connections."""

    name: str
    polls: list[Polled] = field(default_factory=list)


class Entry(NamedTuple):
    """An event of the final log."""

    place: Place
    event_id: str
    key: str
    number: int


Log = Sequence[Entry]
"""The committed events of the topic, partition by partition in the order of offsets."""


@dataclass(slots=True)
class Seen:
    """All operations of a run."""

    sent: list[Sent] = field(default_factory=list)
    forgeries: list[Forgery] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    ends: dict[End, int] = field(default_factory=lambda: dict.fromkeys(End, 0))
    cancelled: int = 0

    def note(self, one: Sent) -> None:
        """An event of a request that has ended."""
        self.sent.append(one)
        self.ends[one.end] += 1

    @property
    def count(self) -> int:
        """How many operations there were."""
        return len(self.sent) + len(self.forgeries) + sum(len(course.polls) for course in self.courses)

    def share(self, end: End) -> float:
        """The share of the events that ended so."""
        return self.ends[end] / max(1, len(self.sent))


Complaints = Mapping[str, Sequence[str]]
