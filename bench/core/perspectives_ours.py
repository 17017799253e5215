# SPDX-License-Identifier: Apache-2.0
"""Ours: some fields of a perspective, as a stream: `WHAT COUNT RUNS`. Prints states a second."""

import sys
from datetime import datetime
from typing import Annotated, Any

from bench.core.perspectives_states import DEEP, FLAT, NUMBERS, REALS, TEXTS, measure
from nerv.perspectives import Perspective, Source, computed

fields: dict[str, type] = {
    **dict.fromkeys(TEXTS, str), **dict.fromkeys(NUMBERS, int), **dict.fromkeys(REALS, float)
}  # fmt: skip


class Flat(Perspective):
    """20 fields."""

    __annotations__ = {"tailnum": str, "since": datetime, **fields}


class Leg(Perspective):
    """Two of its three fields."""

    origin: str
    miles: int


class Deep(Flat):
    """More than 20: some lie deeper, one is computed, one nested."""

    city: Annotated[str, Source("position.city")]
    leg: Leg

    @computed
    def late(self) -> bool:
        """Of a field that is not shown."""
        return self.number1 > 15  # type: ignore[attr-defined, no-any-return]  # made above


def show(states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of them."""
    return list(Flat.many(states, fields=FLAT)) if sys.argv[1] == "flat" else list(Deep.many(states, fields=DEEP))


if __name__ == "__main__":
    measure(show)
