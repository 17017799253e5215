# SPDX-License-Identifier: Apache-2.0
"""The hops that a flight's events take through the mesh, how far each is, and how fast it is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nerv


@dataclass(slots=True)
class Hop:
    """One hop: `done` of `total` events; times are of the monotonic clock, in seconds."""

    name: str
    total: int
    done: int = 0
    begun: float = field(default_factory=time.monotonic)
    changed: float = field(default_factory=time.monotonic)

    def reached(self, done: int) -> None:
        """It has come this far."""
        if done > self.done:
            self.done, self.changed = done, time.monotonic()

    def more(self, events: int) -> None:
        """It has done some more."""
        self.reached(self.done + events)

    @property
    def seconds(self) -> float:
        """From its beginning to its latest progress."""
        return max(self.changed - self.begun, 1e-3)

    @property
    def rate(self) -> float:
        """Events a second so far."""
        return self.done / self.seconds


@dataclass(frozen=True, slots=True)
class Hops:
    """Published by the broker, appended to history by a reaction, folded by every projection."""

    published: Hop
    appended: Hop
    folded: Hop

    def all(self) -> tuple[Hop, Hop, Hop]:
        """In the order an event takes them."""
        return self.published, self.appended, self.folded

    @property
    def changed(self) -> float:
        """When any of them last made progress."""
        return max(hop.changed for hop in self.all())


async def history_size(client: nerv.Client) -> int:
    """How many records history holds; a few more than events, for each transaction leaves a marker."""
    answer = await client.transport.request("temporal", "GET", "/v1/partitions")
    return sum(int(row["next_offset"]) for row in answer.json()["partitions"])


@dataclass(frozen=True, slots=True)
class Standing:
    """How many events each projection has folded, and whether everything committed is visible."""

    folded: Mapping[str, int]
    caught_up: bool

    @property
    def total(self) -> int:
        """Over all projections."""
        return sum(self.folded.values())


async def standing(client: nerv.Client) -> Standing:
    """Ask the projector."""
    rows: list[dict[str, Any]] = list(await client.views.projections())
    return Standing({row["projection"]: row["folded"] or 0 for row in rows}, all(row["lag"] == 0 for row in rows))
