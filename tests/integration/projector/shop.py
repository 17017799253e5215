# SPDX-License-Identifier: Apache-2.0
"""A small app whose projections fold topics: orders that a client of anybody writes, and what changes in their totals.
`NERV_APP=shop:app`."""

from typing import Any

import nerv

app = nerv.App("shop")

ORDERS, RETURNS = "shop.order.v1", "shop.return.v1"
app.topic(ORDERS, partitions=6, config={"retention.ms": "-1"})
app.topic(RETURNS, partitions=2)  # which forgets, as Kafka does by default


@app.event("order.v1", topic=ORDERS)
class Order(nerv.Event):
    """Somebody buys."""

    item: str
    cents: int


@app.event("return.v1", topic=RETURNS, key="who")
class Return(nerv.Event):
    """And brings it back."""

    who: str
    cents: int


@app.event("buyers.changed.v1")
class BuyersChanged(nerv.Event):
    """A delta of the projection of this name."""

    key: str
    from_version: int
    to_version: int


@app.on("buyers.changed.v1", topic="changes:buyers")
def tell(event: BuyersChanged) -> nerv.effects.Append:
    """Each delta is an event that is reacted to, as any other."""
    return nerv.append(f"told-{event.key}", event)


def add(state: dict[str, int] | None, cents: int) -> dict[str, int]:
    """One more."""
    before = state or {"orders": 0, "cents": 0}
    return {"orders": before["orders"] + 1, "cents": before["cents"] + cents}


@app.projection("buyers", topics=[ORDERS], on=["order.v1"], indexes={"cents": int})
def buyers(state: dict[str, int] | None, event: Order) -> dict[str, int]:
    """By the key of the record."""
    return add(state, event.cents)


@app.projection("items", topics=[ORDERS], on=["order.v1"], key="item")
def items(state: dict[str, int] | None, event: Order) -> dict[str, int]:
    """By a field."""
    return add(state, event.cents)


def together(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    """Two parts."""
    return {name: left[name] + right[name] for name in left}


@app.projection("total", topics=[ORDERS, RETURNS], on=["order.v1", "return.v1"], merge=together, ephemeral=True)
def total(state: dict[str, int] | None, event: Order | Return) -> dict[str, int]:
    """Of two topics with other numbers of partitions, in parts."""
    return add(state, event.cents if isinstance(event, Order) else -event.cents)


@app.projection("moves", topics=["changes:buyers"], on=["buyers.changed.v1"], ephemeral=True)
def moves(state: dict[str, Any] | None, event: BuyersChanged) -> dict[str, Any]:
    """How far the views of another projection have come, and whether any step is missing."""
    before = state or {"at": 0, "gaps": 0}
    gap = event.from_version > before["at"]
    return {"at": max(before["at"], event.to_version), "gaps": before["gaps"] + gap}
