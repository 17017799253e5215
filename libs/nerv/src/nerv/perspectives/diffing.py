# SPDX-License-Identifier: Apache-2.0
"""The diffing schema of a perspective: when two rows are the same entity, and when they are equal.

Rows are JSON-able mappings, as `Perspective.diff_row` gives them. Two values are equal when their canonical JSON is: `1`,
`1.0`, `true` and `"1"` differ, the order of keys does not matter, and an attribute that a row lacks differs from null. Under
a tolerance two numbers are equal when they lie at most so far apart; what is no number is compared as everything else.

What a digest of `canonical` says:
- Equal digests: the rows are equal. None hides a difference.
- Unequal digests: without tolerances (`exact`) the rows differ. With tolerances they may differ, and `equal` decides: being
  within a tolerance is not transitive, so that no digest can agree with it always. Numbers are written as the cell of a grid
  as wide as the tolerance; of two that are equal, nearer ones share a cell more often.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import orjson

from nerv.errors import Invalid, Misconfigured

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DiffSchema:
    """How rows of a perspective are compared. `attributes` are compared, `ignored` are not; `computed` names those of both
    that are computed, so that nothing can be written to them; `tolerance` is absolute, in the unit of the attribute.
    """

    name: str
    identifiers: tuple[str, ...]
    attributes: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    tolerance: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.identifiers:
            raise Misconfigured(
                f"{self.name} has no identifier, so that its rows cannot be told apart; "
                "mark at least one field: Annotated[str, Identifier()]"
            )
        named = [*self.identifiers, *self.attributes, *self.ignored]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise Misconfigured(f"{self.name}: {', '.join(twice)} can be one of identifier, compared and ignored")
        strange = sorted(set(self.tolerance) - set(self.attributes))
        if strange:
            raise Misconfigured(
                f"{self.name}: a tolerance is for an attribute that is compared, not {', '.join(strange)}"
            )
        object.__setattr__(self, "tolerance", dict(self.tolerance))

    def __hash__(self) -> int:
        return hash((self.name, self.identifiers, self.attributes, self.ignored, self.computed))

    @property
    def exact(self) -> bool:
        """Whether unequal digests mean unequal rows, too: there is no tolerance."""
        return not self.tolerance

    def identity(self, row: Row) -> tuple[str | int, ...]:
        """Which entity a row is of. Raises Invalid where an identifier is missing or no text or whole number."""
        found: list[str | int] = []
        for name in self.identifiers:
            value = row.get(name)
            if (type(value) is not str and type(value) is not int) or value == "":
                raise Invalid(f"{self.name}: identifier {name} is {_kind(value)}; it must be text or a whole number")
            found.append(value)
        return tuple(found)

    def equal(self, one: Row, other: Row) -> bool:
        """Whether two rows of one entity are equal. Raises Invalid for values that JSON does not have."""
        if self.exact:
            return self.canonical(one) == self.canonical(other)
        return not self.differences(one, other)

    def differences(self, one: Row, other: Row) -> tuple[str, ...]:
        """The compared attributes in which two rows differ, in the order of their declaration."""
        return tuple(name for name in self.attributes if not self._same(name, one, other))

    def canonical(self, row: Row) -> bytes:
        """What a digest of a row is made from: its compared attributes as JSON, keys sorted. Not its identity."""
        kept = {name: row[name] for name in self.attributes if name in row}
        for name, width in self.tolerance.items():
            if name in kept:
                kept[name] = _cell(kept[name], width)
        return _json(self.name, kept)

    def _same(self, name: str, one: Row, other: Row) -> bool:
        if (name in one) != (name in other):
            return False
        if name not in one:
            return True
        a, b = one[name], other[name]
        tolerance = self.tolerance.get(name)
        if tolerance is not None and _number(a) and _number(b):
            return bool(_apart(a, b) <= tolerance)
        return _json(self.name, {name: a}) == _json(self.name, {name: b})


def _number(value: object) -> bool:
    # Booleans are whole numbers to Python, and no quantities.
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _apart(a: Any, b: Any) -> Any:
    # A float and a large whole number: exactly, for the conversion of one to the other rounds or overflows.
    return abs(a - b) if type(a) is type(b) else abs(Fraction(a) - Fraction(b))


def _cell(value: Any, width: float) -> list[Any]:
    """The place in a grid, as text for there may be more than 64 bits; no other value is written like one.

    The division is exact: one that rounds could put numbers into a cell that are further apart than it is wide.
    """
    if not _number(value):
        return ["is", value]
    (n, d), (wn, wd) = value.as_integer_ratio(), width.as_integer_ratio()
    return ["cell", str((n * wd) // (d * wn))]


def _json(name: str, values: Mapping[str, Any]) -> bytes:
    try:
        found = orjson.dumps(values, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as error:
        raise Invalid(f"{name}: a row is not JSON: {error}; compare rows as `diff_row` gives them") from None
    if b"null" in found:  # as which orjson writes what is not a number, too
        _refuse_nan(name, values)
    return found


def _refuse_nan(name: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(f"{name}: a row holds {value}, which JSON does not have and nothing equals; use null")
    if isinstance(value, Mapping):
        for part in value.values():
            _refuse_nan(name, part)
    elif isinstance(value, list | tuple):
        for part in value:
            _refuse_nan(name, part)


def _kind(value: object) -> str:
    return "missing" if value is None else "empty" if value == "" else f"of type {type(value).__name__}"
