# SPDX-License-Identifier: Apache-2.0
"""The three-way decision about one object, pure: what shall hold on both sides, and whose update is lost by that."""

from dataclasses import dataclass
from typing import Any

from nerv.protocols.side import Entity, Row, Version
from nerv.state import MISSING
from nerv.sync.schema import Schema, compared
from nerv.sync.strategies import UNDECIDED, Conflict, Strategy


@dataclass(frozen=True, slots=True)
class Loss:
    """An update that does not prevail: `side` had `lost` (MISSING: it had deleted it) at `version`, and `kept` holds instead."""

    side: str
    key: str
    field: str | None
    lost: Any
    kept: Any
    strategy: str
    version: Version = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What shall hold of what is compared (None: no object), by which strategy, and what is lost. Without a
    strategy only one side had changed.
    """

    row: Row | None
    strategy: str = ""
    losses: tuple[Loss, ...] = ()


def settle(
    schema: Schema, left: Entity, right: Entity, base: Row | None, strategy: Strategy, decided: Any = UNDECIDED
) -> Settled | Conflict:
    """What shall hold of an object that differs between the sides; the conflict itself when nobody can tell yet.

    `decided` is what a person has said of it, for when the strategy cannot tell: a row, MISSING, or UNDECIDED.
    """
    if same_row(schema, left.row, base):
        return Settled(right.row)
    if same_row(schema, right.row, base):
        return Settled(left.row)
    seen = [_seen(schema, row, left.row) for row in (base, left.row, right.row)]
    conflict = Conflict(left.key, None, seen[0], seen[1], seen[2], left.stamp, right.stamp)
    name, found = strategy.name, strategy.resolve(conflict)
    if found is UNDECIDED:
        name, found = "person", decided
        if found is UNDECIDED:
            return conflict
    row = None if found is MISSING else found
    losses = [
        loss
        for side, entity in (("left", left), ("right", right))
        for loss in lost(schema, side, entity, base, row, name)
    ]
    return Settled(row, name, tuple(losses))


def lost(schema: Schema, side: str, entity: Entity, base: Row | None, row: Row | None, strategy: str) -> list[Loss]:
    """What a side had changed since the base, and `row` does not hold."""
    if same_row(schema, entity.row, row) or same_row(schema, entity.row, base):
        return []
    if entity.row is None or row is None:
        return [Loss(side, entity.key, None, _or_missing(entity.row), _or_missing(row), strategy, entity.version)]
    changed = schema.differences(entity.row, base) if base is not None else tuple(entity.row)
    return [
        Loss(side, entity.key, name, entity.row.get(name, MISSING), row.get(name, MISSING), strategy, entity.version)
        for name in schema.differences(entity.row, row)
        if name in changed
    ]


def same_row(schema: Schema, one: Row | None, other: Row | None) -> bool:
    """Whether both are there and equal, or neither is there."""
    if one is None or other is None:
        return one is other
    return schema.equal(one, other)


def _seen(schema: Schema, row: Row | None, like: Row | None) -> Any:
    """What a strategy sees of a row: what is compared, and of two values within a tolerance the left one's."""
    if row is None:
        return MISSING
    seen = compared(schema, row)
    if schema.exact or like is None:
        return seen
    differs = schema.differences(row, like)
    return {name: value if name in differs else like[name] for name, value in seen.items()}


def _or_missing(row: Row | None) -> Any:
    return MISSING if row is None else row


def boxed(value: Any) -> list[Any]:
    """A value as JSON has it, in a list of one; MISSING is an empty list."""
    return [] if value is MISSING else [value]


def unboxed(box: list[Any]) -> Any:
    """What `boxed` was given."""
    return box[0] if box else MISSING
