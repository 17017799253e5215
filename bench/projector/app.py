# SPDX-License-Identifier: Apache-2.0
"""The app of the suite: one projection without a key of its own, one with a state for each key."""

from typing import Any

import nerv
from bench.projector.events import TYPE

app = nerv.App("bench")


@app.event(TYPE)
class Counted(nerv.Event):
    """One more."""

    n: int
    amount: int
    by: str
    place: str
    note: str


@app.projection("counter", on=[TYPE])
def counter(state: dict[str, Any] | None, event: Counted) -> dict[str, Any]:
    """How often, and how much."""
    if state is None:
        return {"count": 1, "amount": event.amount}
    return {"count": state["count"] + 1, "amount": state["amount"] + event.amount}


def both(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Two parts as one."""
    return {"count": left["count"] + right["count"], "amount": left["amount"] + right["amount"]}


@app.projection("totals", on=[TYPE], merge=both)
def totals(state: dict[str, Any] | None, event: Counted) -> dict[str, Any]:
    """The same of all of them: a sum without a key, as the peers keep one in a variable."""
    return counter(state, event)
