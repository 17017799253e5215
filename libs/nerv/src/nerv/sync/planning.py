# SPDX-License-Identifier: Apache-2.0
"""From objects that differ to steps: what each side has to be written, decided object by object, without I/O."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from nerv.protocols.side import Action, Entity, Row, Step
from nerv.sync.canonical import canonical
from nerv.sync.plan import Agreement
from nerv.sync.schema import Schema, merged, writable
from nerv.sync.scope import Scope
from nerv.sync.strategies import UNDECIDED, Conflict, Strategy
from nerv.sync.threeway import Loss, Settled, lost, same_row, settle


@dataclass(frozen=True, slots=True)
class Trio:
    """One object as both sides hold it, and as they last agreed (None: never, or that there is none)."""

    left: Entity
    right: Entity
    base: Row | None = None

    @property
    def key(self) -> str:
        """Its key."""
        return self.left.key

    def within(self, scope: Scope) -> bool:
        """Whether it is within a scope on each side that has it."""
        return not scope or all(one.row is None or scope(one.row) for one in (self.left, self.right))

    def agreed(self, row: Row | None) -> Agreement:
        """That both sides hold a row, as they are now or once they were written."""
        return Agreement(row, (self.left.version, self.right.version))


@dataclass(slots=True)
class Draft:
    """A plan in the making (see `Plan`)."""

    steps: list[Step] = field(default_factory=list)
    agreed: dict[str, Agreement] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    asked: list[Conflict] = field(default_factory=list)
    unwritable: list[str] = field(default_factory=list)


class Planner:
    """Decides by one schema and one strategy; `agreed` says whether there is a base. `differs` are the keys of the objects
    that diffsync has found unequal.
    """

    def __init__(self, schema: Schema, strategy: Strategy, *, agreed: bool) -> None:
        # What is computed may differ, and nothing can be done about it; so it decides nothing either.
        self._schema = writable(schema)
        self._computed = self._schema != schema
        self._strategy = strategy
        self._agreed = agreed

    def mirror(self, draft: Draft, target: str, trios: Iterable[Trio], differs: Set[str]) -> None:
        """The target follows the other side. What it had changed since both agreed is lost by that, and noted."""
        for trio in trios:
            source, other = (trio.left, trio.right) if target == "right" else (trio.right, trio.left)
            if trio.key in differs and self._writable(draft, trio):
                self._step(draft, target, other, source.row, source)
                if self._agreed:
                    draft.losses += lost(self._schema, target, other, trio.base, source.row, "direction")
            if self._agreed:
                draft.agreed[trio.key] = trio.agreed(source.row)

    def reconcile(
        self, draft: Draft, trios: Iterable[Trio], differs: Set[str], decided: Mapping[str, Any] = {}
    ) -> None:
        """Both sides come to hold the same. What is equal on both is agreed, whatever the base says.

        `decided` is what persons have said of conflicts, by key.
        """
        for trio in trios:
            if trio.key not in differs or not self._writable(draft, trio):
                draft.agreed[trio.key] = trio.agreed(trio.left.row)
                continue
            said = decided.get(trio.key, UNDECIDED)
            found = settle(self._schema, trio.left, trio.right, trio.base, self._strategy, said)
            if isinstance(found, Conflict):
                draft.asked.append(found)
            else:
                self._settled(draft, trio, found)

    def _writable(self, draft: Draft, trio: Trio) -> bool:
        """Whether an object differs in anything that can be written."""
        if not self._computed or not same_row(self._schema, trio.left.row, trio.right.row):
            return True
        draft.unwritable.append(trio.key)
        return False

    def _settled(self, draft: Draft, trio: Trio, found: Settled) -> None:
        draft.losses += found.losses
        for side, entity, beside in (("left", trio.left, trio.right), ("right", trio.right, trio.left)):
            if not same_row(self._schema, entity.row, found.row):
                self._step(draft, side, entity, found.row, beside)
        whole = trio.left.row if trio.left.row is not None else trio.right.row
        draft.agreed[trio.key] = trio.agreed(None if found.row is None else merged(self._schema, found.row, whole))

    def _step(self, draft: Draft, side: str, entity: Entity, row: Row | None, beside: Entity) -> None:
        """Add what brings an object to hold `row`."""
        before = None if entity.row is None else canonical(entity.row)
        after = None if row is None else canonical(merged(self._schema, row, entity.row, beside.row))
        action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
        # Not before what the object already has: a file that is older must not slip its change in before it.
        stamp = max((one.stamp for one in (entity, beside) if one.stamp is not None), default=None)
        draft.steps.append(Step(side, action, entity.key, before, after, entity.version, stamp))
