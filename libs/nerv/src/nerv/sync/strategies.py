# SPDX-License-Identifier: Apache-2.0
"""Who wins where both sides changed the same thing: strategies as objects (the Strategy of Gamma, Helm, Johnson, Vlissides).

A strategy is given a conflict about an object or about one of its fields, and answers the value that shall hold, or that it
cannot tell. `FieldMerge` chooses another one for each field, so that strategies nest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

from nerv.errors import Misconfigured
from nerv.protocols.side import Row
from nerv.state import MISSING
from nerv.sync.canonical import canonical
from nerv.types import Stamp


class _Undecided(Enum):
    UNDECIDED = "undecided"

    def __repr__(self) -> str:
        return "UNDECIDED"


UNDECIDED: Final = _Undecided.UNDECIDED
"""The answer of a strategy that cannot tell: a person is asked."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Both sides changed the object `key`, or its `field`, otherwise. Values are rows, or those of the field; MISSING where
    there is none. `base` is what both had agreed on; the stamps say when each side's object became so, where that is known.
    """

    key: str
    field: str | None
    base: Any
    left: Any
    right: Any
    left_stamp: Stamp | None = None
    right_stamp: Stamp | None = None


class Strategy(Protocol):
    """How a conflict ends. Pure: the same conflict has the same end, on whichever process it is decided."""

    @property
    def name(self) -> str:
        """What the journal calls it."""
        ...

    def resolve(self, conflict: Conflict) -> Any:
        """The value that shall hold on both sides (MISSING: none), or UNDECIDED."""
        ...


@dataclass(frozen=True, slots=True)
class AskPerson:
    """A person decides; nothing is written until then."""

    name: str = "ask-person"

    def resolve(self, conflict: Conflict) -> Any:
        """UNDECIDED."""
        return UNDECIDED


@dataclass(frozen=True, slots=True)
class SourcePriority:
    """One side always wins: `left` or `right`."""

    side: str
    name: str = "source-priority"

    def __post_init__(self) -> None:
        if self.side not in ("left", "right"):
            raise Misconfigured(f"SourcePriority is for 'left' or 'right', not {self.side!r}")

    def resolve(self, conflict: Conflict) -> Any:
        """That side's value."""
        return conflict.left if self.side == "left" else conflict.right


@dataclass(frozen=True, slots=True)
class LastWriter:
    """The side whose object was changed last wins, by the stamps of hybrid logical clocks. Where one has none, or both are
    equal, `otherwise` is asked.
    """

    otherwise: Strategy = field(default_factory=AskPerson)
    name: str = "last-writer"

    def resolve(self, conflict: Conflict) -> Any:
        """The value with the greater stamp."""
        left, right = conflict.left_stamp, conflict.right_stamp
        if left is None or right is None or left == right:
            return self.otherwise.resolve(conflict)
        return conflict.left if left > right else conflict.right


@dataclass(frozen=True, slots=True)
class Custom:
    """A pure function of the conflict, under a name for the journal."""

    function: Callable[[Conflict], Any]
    name: str

    def resolve(self, conflict: Conflict) -> Any:
        """What the function answers."""
        return self.function(conflict)


@dataclass(frozen=True, slots=True)
class FieldMerge:
    """Field by field: what only one side changed is taken from it; where both did, the strategy of the field is asked, or
    `otherwise`. Of an object that one side deleted `otherwise` decides as a whole.
    """

    fields: Mapping[str, Strategy] = field(default_factory=dict)
    otherwise: Strategy = field(default_factory=AskPerson)
    name: str = "field-merge"

    def resolve(self, conflict: Conflict) -> Any:
        """The merged row; UNDECIDED when a field is."""
        if conflict.field is not None or conflict.left is MISSING or conflict.right is MISSING:
            return self.otherwise.resolve(conflict)
        merged: dict[str, Any] = {}
        for name in dict.fromkeys((*conflict.left, *conflict.right)):
            value = self._merged(conflict, name)
            if value is UNDECIDED:
                return UNDECIDED
            if value is not MISSING:
                merged[name] = value
        return merged

    def _merged(self, conflict: Conflict, name: str) -> Any:
        base, left, right = (_value(row, name) for row in (conflict.base, conflict.left, conflict.right))
        if same(left, right) or same(right, base):
            return left
        if same(left, base):
            return right
        about = Conflict(conflict.key, name, base, left, right, conflict.left_stamp, conflict.right_stamp)
        return self.fields.get(name, self.otherwise).resolve(about)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON, or both MISSING."""
    if one is MISSING or other is MISSING:
        return one is other
    return canonical({"": one}) == canonical({"": other})


def _value(row: "Row | Any", name: str) -> Any:
    return MISSING if row is MISSING else row.get(name, MISSING)
