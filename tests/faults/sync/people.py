# SPDX-License-Identifier: Apache-2.0
"""People at both registries, and what must have become of everything that they wrote."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.sync.registry import Registry

ROOTS, BRANCHES = 10, 30  # are there always; of leaves people make new ones, change and remove them
FIELDS = ("a", "b")
REMOVED = 0.1  # share of the edits of a leaf that remove it


class People:
    """Edits of two registries. Every value is written once in the world, so that it can be told which edit it was."""

    def __init__(self, left: Registry, right: Registry, leaves: int, chance: random.Random) -> None:
        self._sides = {"left": left, "right": right}
        self._chance = chance
        self._leaves = leaves
        self._unique = 0
        self._made: dict[tuple[str, str, str], int] = {}  # side, key, field: what was set there last
        self.edits = 0

    def settle_in(self) -> None:
        """What both have from the beginning, made by hand on the left."""
        for n in range(ROOTS):
            self._put("left", f"root{n}", None, "a")
        for n in range(BRANCHES):
            self._put("left", f"branch{n}", f"root{n % ROOTS}", "a")
        for n in range(self._leaves // 2):
            self._edit("left", n)

    def edit(self, count: int) -> None:
        """So many edits, on either side."""
        for _ in range(count):
            side = self._chance.choice(("left", "right"))
            if self._chance.random() < 0.2:
                n = self._chance.randrange(BRANCHES)
                self._put(side, f"branch{n}", f"root{n % ROOTS}", self._chance.choice(FIELDS))
            else:
                self._edit(side, self._chance.randrange(self._leaves))

    def complaints(self, lost: Sequence[Mapping[str, Any]]) -> list[str]:
        """What is gone without a trace, now that both sides are equal; from then on both know of all of it."""
        journaled: set[tuple[str, str, Any]] = set()
        for one in lost:
            if "lost" not in one:
                continue
            rows = {one["field"]: one["lost"]} if one["field"] is not None else one["lost"]
            journaled |= {(one["key"], field, value) for field, value in rows.items() if field in FIELDS}
        found = self._sides["left"].side
        gone = [
            f"{side} wrote {field}={value} of {key}, which is nowhere"
            for (side, key, field), value in self._made.items()
            if not (key in found and found[key][field] == value) and (key, field, value) not in journaled
        ]
        self._made.clear()
        return gone

    async def apart(self) -> list[str]:
        """The keys whose rows differ between the sides."""
        left, right = [await registry.rows() for registry in self._sides.values()]
        return sorted(key for key in {*left, *right} if left.get(key) != right.get(key))

    def _edit(self, side: str, n: int) -> None:
        key, registry = f"leaf{n}", self._sides[side].side
        if key in registry and self._chance.random() < REMOVED:
            # Who removes a row takes back what he had written in it.
            for field in FIELDS:
                self._made.pop((side, key, field), None)
            registry.remove(key)
            self.edits += 1
            return
        branch = f"branch{n % BRANCHES}"
        if side == "left" or branch in registry:
            self._put(side, key, branch, self._chance.choice(FIELDS))

    def _put(self, side: str, key: str, above: str | None, field: str) -> None:
        registry = self._sides[side].side
        self._unique += 1
        self.edits += 1
        held = dict(registry[key]) if key in registry else {}
        registry.put(key, {"key": key, "above": above, "a": 0, "b": 0, **held, field: self._unique})
        self._made[side, key, field] = self._unique
