# SPDX-License-Identifier: Apache-2.0
"""Orders that people give of a run, pure. Each is an event of its stream, and folding decides whether it counts.

So two that are given at once, or one that meets the end of its run, come to the same everywhere: the order of the stream decides.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from nerv.errors import NotFound
from nerv.protocols.queue import NodeStatus, RunStatus
from nerv.types import EventType
from nerv.workflows import Dag
from nerv_scheduler.record import Given, NodeRecord, Order, OrderKind, RunRecord

SHOWN_STEPS = 20
ORDERS_LIMIT = 1000  # of one run, for all of them are read with it; it can be cancelled all the same

EVENT_OF = {
    OrderKind.CANCEL: EventType.RUN_CANCEL_ORDERED,
    OrderKind.PAUSE: EventType.RUN_PAUSED,
    OrderKind.RESUME: EventType.RUN_RESUMED,
    OrderKind.RESTART: EventType.RUN_RESTARTED,
    OrderKind.EXPIRE: EventType.RUN_DEADLINE_PASSED,
}
_ENDING = (OrderKind.CANCEL, OrderKind.EXPIRE)
_KIND_OF = {event.value: kind for kind, event in EVENT_OF.items()}


def order_of(kind: str, data: Mapping[str, Any]) -> Order | None:
    """The order that an event is; None for any other event."""
    found = _KIND_OF.get(kind)
    return None if found is None else Order(data["order"], found, data["reason"], tuple(data["steps"]))


def check_steps(dag: Dag, steps: Iterable[str]) -> None:
    """Raises NotFound for a step that the run does not have."""
    known = {step.name for step in dag.steps} | set(dag.nodes)
    for step in steps:
        if step not in known:
            names = [found.name for found in dag.steps]
            more = ", ..." if len(names) > SHOWN_STEPS else ""
            raise NotFound(f"the run has no step {step!r}; it has {', '.join(names[:SHOWN_STEPS])}{more}")


def refusal(record: RunRecord, order: Order) -> str:
    """Why an order cannot be carried out on a run as it stands; empty when it can."""
    status = record.status
    if len(record.orders) >= ORDERS_LIMIT and order.kind not in _ENDING:
        return f"it has had {ORDERS_LIMIT} orders, the limit; start another run"
    if order.kind is OrderKind.RESTART:
        if not status.ended:
            return "it has not ended; wait for its end or cancel it first"
        if status is RunStatus.COMPLETED and not order.steps:
            return "it has completed; name the step to restart from"
        return ""
    if status.ended:
        return f"it has ended ({status.value}); it can be restarted"
    if order.kind is OrderKind.EXPIRE and status is RunStatus.CANCELLING:
        return "it is being ended already"
    if order.kind is OrderKind.PAUSE and status is not RunStatus.RUNNING:
        return f"it is {status.value}, and begins no further task anyway"
    return ""


def obey(record: RunRecord, order: Order, at: datetime) -> RunRecord:
    """The record after an order that was recorded `at`; the first one under an id counts."""
    if order.id in record.orders:
        return record
    refused = refusal(record, order)
    record = replace(record, orders={**record.orders, order.id: Given(order, refused)})
    if refused:
        return record
    if order.kind in _ENDING:
        return replace(record, status=RunStatus.CANCELLING, paused=False, cut_short=True)
    if order.kind is OrderKind.RESTART:
        return _restarted(record, order, at)
    return replace(record, paused=order.kind is OrderKind.PAUSE)


def _restarted(record: RunRecord, order: Order, at: datetime) -> RunRecord:
    """Forget what the steps, and whatever needs them, came to; what failed is always begun anew, and so is the deadline."""
    anew = again(record.dag, record.nodes, order.steps)
    kept = {name: node for name, node in record.nodes.items() if name not in anew}
    folded = {step.name: None for step in record.dag.steps if step.over is not None and step.name in anew}
    going = replace(record, status=RunStatus.RUNNING, ended=None, result=None, error="", paused=False, cut_short=False)
    limit = None if record.deadline_seconds is None else at + timedelta(seconds=record.deadline_seconds)
    return replace(going, nodes=kept, round=record.round + 1, dag=record.dag.expanded(folded), deadline=limit)


def _waits(node: NodeRecord) -> bool:
    return node.verdict is None and node.wait is not None


def again(dag: Dag, nodes: Mapping[str, NodeRecord], steps: Iterable[str]) -> set[str]:
    """The nodes that a restart from `steps` runs again."""
    named = set(steps)
    found = {name for name, node in nodes.items() if node.verdict is NodeStatus.FAILED or _waits(node)}
    found |= {node.name for step, nodes in dag.drawn for node in nodes if {step.name, node.name} & named}
    for node in dag.nodes.values():  # in order of drawing: what a node needs comes before it
        if not found.isdisjoint(node.after):
            found.add(node.name)
    return found
