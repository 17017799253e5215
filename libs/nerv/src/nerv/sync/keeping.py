# SPDX-License-Identifier: Apache-2.0
"""A plan as bytes and back, so that whoever goes on with it knows exactly what was to be done. One JSON document a line."""

from collections.abc import Iterator
from typing import Any

import orjson

from nerv.protocols.side import Action, Step
from nerv.sync.canonical import canonical
from nerv.sync.plan import Agreement, Direction, Plan
from nerv.sync.threeway import Loss, boxed, unboxed
from nerv.types import Stamp


def to_bytes(plan: Plan) -> bytes:
    """All of a plan but the conflicts that it asks persons about, which the next plan finds again."""
    return b"\n".join(map(orjson.dumps, _lines(plan)))


def from_bytes(data: bytes) -> Plan:
    """The plan. Raises ValueError for what `to_bytes` has not written."""
    head, *lines = map(orjson.loads, data.split(b"\n"))
    _, direction, present, unchanged, unwritable = head
    steps, agreed, losses = [], {}, []
    for kind, *values in lines:
        if kind == "step":
            steps.append(_step(*values))
        elif kind == "agreed":
            key, row, left, right = values
            agreed[key] = Agreement(row, (left, right))
        else:
            side, key, field, lost, kept, strategy, version = values
            losses.append(Loss(side, key, field, unboxed(lost), unboxed(kept), strategy, version))
    return Plan(Direction(direction), steps, present, unchanged, agreed, losses, (), unwritable)


def _lines(plan: Plan) -> Iterator[list[Any]]:
    yield ["plan", plan.direction, dict(plan.present), plan.unchanged, list(plan.unwritable)]
    for step in plan.steps:
        rows = [None if row is None else orjson.Fragment(row) for row in (step.before, step.after)]
        stamp = None if step.stamp is None else str(step.stamp)
        yield ["step", step.side, step.action, step.key, *rows, step.version, stamp]
    for key, agreement in plan.agreed.items():
        yield ["agreed", key, agreement.row, *agreement.versions]
    for one in plan.losses:
        boxes = [boxed(one.lost), boxed(one.kept)]
        yield ["loss", one.side, one.key, one.field, *boxes, one.strategy, one.version]


def _step(side: str, action: str, key: str, before: Any, after: Any, version: Any, stamp: str | None) -> Step:
    rows = [None if row is None else canonical(row) for row in (before, after)]
    return Step(side, Action(action), key, rows[0], rows[1], version, None if stamp is None else Stamp.parse(stamp))
