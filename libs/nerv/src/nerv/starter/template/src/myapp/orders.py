# SPDX-License-Identifier: Apache-2.0
"""What happens to orders, and what may be done about them."""

from dataclasses import dataclass
from typing import Any

import nerv
from myapp.registry import app


@app.event("order.placed.v1", topic="myapp.order.v1", key="order")
class OrderPlaced(nerv.Event):
    """Somebody ordered something."""

    order: str
    customer: str
    item: str
    cups: int
    cents: int


@app.event("order.cancelled.v1")
class OrderCancelled(nerv.Event):
    """Somebody thought better of it."""

    reason: str


@app.on("order.placed.v1")
def record(event: OrderPlaced) -> Any:
    """A reaction: an order that comes in on the topic goes into the order's own stream, once, whatever is redelivered."""
    return nerv.append(f"order-{event.order}", event)


@dataclass(frozen=True)
class Order:
    """How an order stands."""

    customer: str
    item: str
    cups: int
    cents: int
    cancelled: bool = False


@dataclass(frozen=True)
class Cancel:
    """A command: cancel this order."""

    reason: str


@app.decider("order")
def cancel(state: Order | None, command: Cancel) -> Any:
    """The rules: (state, command) to an event, or a refusal. Twice is once: then there is nothing to do."""
    if state is None:
        return nerv.refuse("no-such-order", "nobody has ordered that")
    if state.cancelled:
        return None
    if state.cups > 10:
        return nerv.refuse("too-late", "so much tea is brewed at once")
    return OrderCancelled(reason=command.reason)
