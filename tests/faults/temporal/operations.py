# SPDX-License-Identifier: Apache-2.0
"""What the clients of a run saw, and what history holds in the end. Pure data; instants are seconds of one clock."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from nerv.protocols import Expected

NEVER = math.inf


class End(Enum):
    """How an append ended for its client."""

    DONE = "done"
    CONFLICT = "conflict"  # refused: the stream was at `version`, not as expected
    REFUSED = "refused"  # refused for another cause, or surely not done
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Append:
    """One request to append, sent once; a repeat is an operation of its own with the same ids.

    `version` is that of the first event when DONE, and the one that the refusal names when CONFLICT.
    """

    stream: str
    ids: tuple[str, ...]
    expected: Expected
    invoked: float
    completed: float
    end: End
    version: int = 0
    duplicate: bool = False


class Kind(Enum):
    """What a read promises."""

    DEFAULT = "default"  # some prefix, and no less than `least`
    STRONG = "strong"  # linearizable
    KNOWN = "known"  # what was recorded by an instant, for ever


@dataclass(frozen=True, slots=True)
class Read:
    """One read of a whole stream: how many events, and a digest of their ids in order."""

    stream: str
    kind: Kind
    invoked: float
    completed: float
    length: int
    digest: bytes
    least: int = 0  # the version that the reader knows of by its own appends
    known_us: int = 0


@dataclass(frozen=True, slots=True)
class Forgery:
    """A request that used a known id for other content."""

    stream: str
    event_id: str
    done: bool


class Sight(NamedTuple):
    """An event as a reader that follows saw it."""

    stream: str
    version: int
    event_id: str


@dataclass(slots=True)
class Course:
    """All that one reader saw, from the beginning of a stream (or of all), over so many cuts.

    It is complete when it was left until nothing more could come.
    """

    stream: str | None
    sights: list[Sight] = field(default_factory=list)
    cuts: int = 0
    complete: bool = False


class Entry(NamedTuple):
    """An event of the final log, and where it stands in Kafka."""

    version: int
    event_id: str
    recorded_us: int
    partition: int = 0
    offset: int = 0


Log = Mapping[str, Sequence[Entry]]
"""The events of each stream in the order in which Kafka has them."""


@dataclass(slots=True)
class Seen:
    """All operations of a run."""

    appends: list[Append] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    forgeries: list[Forgery] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many operations there were."""
        return len(self.appends) + len(self.reads) + len(self.forgeries)

    @property
    def followed(self) -> int:
        """How many events came to readers that follow."""
        return sum(len(course.sights) for course in self.courses)

    @property
    def cuts(self) -> int:
        """How often readers that follow were cut off."""
        return sum(course.cuts for course in self.courses)

    def share(self, end: End) -> float:
        """The share of the appends that ended so."""
        return sum(1 for one in self.appends if one.end is end) / max(1, len(self.appends))


def digest(ids: Iterable[str]) -> bytes:
    """A digest of ids in order."""
    made = hashlib.blake2b(digest_size=8)
    for event_id in ids:
        made.update(event_id.encode() + b"\n")
    return made.digest()
