# SPDX-License-Identifier: Apache-2.0
"""Views and the workflow, in this process: with the folds that the services run."""

from myapp import app
from myapp.orders import Order, OrderCancelled, OrderPlaced
from myapp.turnover import total
from myapp.views import Kitchen
from nerv.history.store import TemporalStore
from nerv.projections import StateProjector
from nerv.protocols import AppendRequest
from nerv.types import Event, new_event_id, utc_now
from nerv.workflows import draw

TEA = OrderPlaced(order="o1", customer="ann", item="tea", cups=2, cents=700)


def recorded(model: OrderPlaced | OrderCancelled) -> Event[bytes]:
    """An event as it goes into history."""
    return Event(new_event_id(), "test", app.type_of(model), utc_now(), model.model_dump_json().encode())


async def test_an_order_can_be_seen_at_any_version() -> None:
    """Now it is cancelled; at version 1 it was not."""
    async with TemporalStore.in_memory() as store:
        await store.append([AppendRequest("order-o1", [recorded(TEA), recorded(OrderCancelled(reason="no thirst"))])])
        projector: StateProjector[Order] = StateProjector(app, "order", store)
        now, before = await projector.state("o1"), await projector.state("o1", version=1)
    assert now.state == Order("ann", "tea", 2, 700, cancelled=True)
    assert before.state == Order("ann", "tea", 2, 700)


def test_the_kitchen_sees_what_to_make() -> None:
    """And not who pays what."""
    seen = Kitchen.view(Order("ann", "tea", 2, 700))
    assert seen.model_dump() == {"item": "tea", "cups": 2, "cancelled": False}


def test_the_workflow_asks_for_every_order_and_adds_up() -> None:
    """A workflow is drawn before it is run, so that its shape can be tested."""
    dag = draw(app.workflows["turnover"], app.tasks, {"orders": ["o1", "o2"]})
    assert [step.task for step in dag.steps] == ["worth", "total"]
    assert total([700, 300]) == {"orders": 2, "cents": 1000}
