# SPDX-License-Identifier: Apache-2.0
"""The edges of the graph. An end is a kind and a name: `topic:shop.orders.v1`, `projection:orders`, `category:order`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

# In the order in which things flow: where one kind hands over to another, the second stands behind it.
KINDS = (
    "source", "sync", "schedule", "service", "bus", "stream", "bridge", "topic", "group", "reaction", "workflow", "effect",
    "decider", "category", "projection",
)  # fmt: skip


class Difference(StrEnum):
    """How a way is not as it was declared."""

    UNSEEN = "never seen"
    UNDECLARED = "not declared"


@dataclass(frozen=True, slots=True)
class Way:
    """From one end to another. `what` goes there (event types, in words); `count` since the replicas that tell of it started,
    `rate` a second, `last` in seconds since 1970. `always`: it is there by the nature of things, and nobody counts it.
    """

    source: str
    target: str
    what: str = ""
    declared: bool = False
    always: bool = False
    count: int = 0
    rate: float = 0.0
    last: float | None = None
    differs: Difference | None = None

    @property
    def ends(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.source, self.target

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; the ends are called `from` and `to`."""
        told = asdict(self)
        return {"from": told.pop("source"), "to": told.pop("target"), **told}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Way":
        """What `to_dict` made."""
        rest = {name: value for name, value in told.items() if name not in ("from", "to", "differs")}
        differs = None if told.get("differs") is None else Difference(told["differs"])
        return cls(told["from"], told["to"], differs=differs, **rest)


def order(way: Way) -> tuple[int, str, int, str]:
    """Ways as people read them: along the flow, then by name."""
    return *_place(way.source), *_place(way.target)


def _place(end: str) -> tuple[int, str]:
    kind, _, name = end.partition(":")
    return (KINDS.index(kind) if kind in KINDS else len(KINDS)), name


def merged(replicas: Iterable[Mapping[str, Any]]) -> list[Way]:
    """What all replicas have seen go, put together: `replicas` are their documents."""
    found: dict[tuple[str, str], Way] = {}
    for replica in replicas:
        for told in replica.get("traffic", ()):
            ends = told["from"], told["to"]
            way = found.get(ends, Way(*ends))
            last = max(told["last"], way.last or 0.0)
            found[ends] = replace(way, count=way.count + told["count"], rate=way.rate + told["rate"], last=last)
    return sorted(found.values(), key=order)
