# SPDX-License-Identifier: Apache-2.0
"""An app whose runs wait: for people, for payments, for a while. Run it by `NERV_APP=waiting:app`."""

import nerv
from nerv.workflows import Drawing, Output, Result

app = nerv.App("waiting")


@app.event("payment.made.v1", topic="waiting.payment.v1", key="order")
class PaymentMade(nerv.Event):
    """Somebody has paid."""

    order: str
    amount: int


@app.event("order.shipped.v1")
class OrderShipped(nerv.Event):
    """A part of an order is on its way."""

    order: str
    part: int


@app.task()
async def parts(count: int) -> list[int]:
    """The parts of an order, which are known when they have been looked for."""
    return list(range(count))


@app.task()
async def ship(part: int, order: str) -> Result:
    """Ship a part."""
    return Result(part, [nerv.append(f"shipped-{order}", OrderShipped(order=order, part=part))])


@app.task()
async def closed(shipped: list[int], amount: int, manager: str) -> str:
    """What became of an order."""
    return f"{len(shipped)} parts for {amount}, approved by {manager}"


@app.workflow("order", awaits={"payment.made.v1": "order"})
def order(w: Drawing, name: str, count: int = 3, seconds: float = 0.5) -> Output:
    """Wait for the payment; ask a manager where it is a large order; ship what there is, after a while."""
    payment = w.event("payment.made.v1", name)
    large = w.when(w.call(parts, count))
    with large:
        manager = w.signal("approved", after=payment)
    shipped = w.map(ship, w.call(parts, count, after=[payment]), name, after=w.sleep(seconds, after=payment))
    return w.call(closed, shipped, w.call(amount_of, payment), w.first(manager))


@app.task()
async def amount_of(payment: dict[str, object]) -> object:
    """How much was paid."""
    return payment["amount"]


@app.workflow("hurried", deadline=1.0)
def hurried(w: Drawing) -> Output:
    """Waits for longer than it may."""
    return w.signal("never")


@app.workflow("napping")
def napping(w: Drawing, seconds: float) -> Output:
    """Sleeps."""
    return w.call(parts, 1, after=w.sleep(seconds))


@app.workflow("counting")
def counting(w: Drawing, tick: str) -> Output:
    """Started by a schedule."""
    return w.call(parts, 1)


app.schedule("often", "counting", every=1, input=lambda tick: {"tick": tick.isoformat()}, overlap="allow")
app.schedule("nightly", "napping", cron="30 2 * * *", zone="Europe/Berlin", input={"seconds": 1})
