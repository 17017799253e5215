# SPDX-License-Identifier: Apache-2.0
"""How orders stand, for all and for the kitchen."""

from dataclasses import replace

import nerv
from myapp.orders import Order, OrderCancelled, OrderPlaced
from myapp.registry import app


@app.projection("order", on=["order.placed.v1", "order.cancelled.v1"], state=Order)
def order(state: Order | None, event: OrderPlaced | OrderCancelled) -> Order | None:
    """A pure fold: the same for views, for the rules, for any instant of the past, and in tests."""
    if isinstance(event, OrderPlaced):
        return Order(event.customer, event.item, event.cups, event.cents)
    return None if state is None else replace(state, cancelled=True)


@app.perspective("order", "kitchen")
class Kitchen(nerv.Perspective):
    """What the kitchen sees: what to make, and not who pays what."""

    item: str
    cups: int
    cancelled: bool
