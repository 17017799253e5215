# SPDX-License-Identifier: Apache-2.0
"""What orders are worth together: a workflow of two tasks."""

import nerv
from myapp.registry import app
from nerv.workflows import Drawing, Output


@app.task(retries=3, timeout=30.0)
async def worth(order: str, client: nerv.Client) -> int:
    """What one order is worth, in cents; nothing once it is cancelled. `client` is handed in by the scheduler."""
    state = (await client.views.get("order", order))["state"]
    return 0 if state["cancelled"] else int(state["cents"])


@app.task()
def total(worths: list[int]) -> dict[str, int]:
    """All of them."""
    return {"orders": len(worths), "cents": sum(worths)}


@app.workflow("turnover")
def turnover(w: Drawing, orders: list[str]) -> Output:
    """One task for each order, at the same time; then one that adds up."""
    return w.call(total, w.map(worth, orders))
