# SPDX-License-Identifier: Apache-2.0
"""Where a subscription starts and ends, and the position that it has reached. Pure.

A position is `<partition>:<next offset>` for each partition, with commas between; the first one is that of the event it
comes with, so that both the event's own place and the place to go on from can be read from it. A `*` at its end stands for
all other partitions, from their beginning: a topic may have been given more since.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nerv.errors import Invalid
from nerv.types import parse_instant

MOST = 10_000  # partitions in one position
OTHERS = "*"


class Edge(StrEnum):
    """An end of a topic, as it is at this moment."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Place:
    """An edge, an instant (the first record at or after it), or the next offset of some partitions; of those that are not named
    nothing is read, or all where it tells of the `others`.
    """

    edge: Edge | None = None
    instant: datetime | None = None
    offsets: Mapping[int, int] | None = None
    others: bool = False


def parse_place(text: str, partitions: int, name: str) -> Place:
    """What `from=`, `to=` or `Last-Event-ID` says. Raises Invalid with an example of each form."""
    if text in list(Edge):
        return Place(edge=Edge(text))
    named = text.removesuffix(f",{OTHERS}")
    if _offsets_like(named):
        return Place(offsets=_offsets(named, partitions), others=named != text)
    try:
        return Place(instant=parse_instant(text, name))
    except Invalid:
        raise Invalid(
            f"{name} must be earliest, latest, positions such as 0:42,1:17, or an instant such as 2013-01-15T12:00:00Z, "
            f"not {text[:60]!r}"
        ) from None


def _offsets_like(text: str) -> bool:
    return text.isascii() and all(part.count(":") == 1 and part.replace(":", "").isdigit() for part in text.split(","))


def _offsets(text: str, partitions: int) -> dict[int, int]:
    pairs = text.split(",")
    if len(pairs) > MOST:
        raise Invalid(f"a position names at most {MOST} partitions")
    found: dict[int, int] = {}
    for pair in pairs:
        partition, _, offset = pair.partition(":")
        if not partition or not offset or len(offset) > 18 or len(partition) > 9 or int(partition) >= partitions:
            raise Invalid(f"{pair[:40]!r} is no position of this topic; it has partitions 0 to {partitions - 1}")
        found[int(partition)] = int(offset)
    return found


def position(offsets: Mapping[int, int], partition: int | None = None, *, others: bool = False) -> str:
    """The position after an event of `partition`, as `id:` of its server-sent event; of nothing, without a partition."""
    own = [] if partition is None else [f"{partition}:{offsets[partition]}"]
    rest = [f"{p}:{o}" for p, o in offsets.items() if p != partition]
    return ",".join([*own, *rest, OTHERS] if others else [*own, *rest])
