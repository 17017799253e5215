# SPDX-License-Identifier: Apache-2.0
"""What a perspective says of a field beside its type, as `Annotated[type, Marker(...)]`, and `@computed`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import computed_field

from nerv.errors import Misconfigured

T = TypeVar("T")
Part = str | int
Path = tuple[Part, ...]


@dataclass(frozen=True, slots=True, init=False)
class Source:
    """Where in the state the field is read from: `Source("tailnum")`, `Source("position.city")`.

    Several parts are taken as they are, numbers as places in a list: `Source("legs", 0, "from.to")`. `Source()` is the whole
    state. A part that is missing, or None on the way, leaves the field to its default.
    """

    path: Path

    def __init__(self, *path: Part) -> None:
        dotted = tuple(path[0].split(".")) if len(path) == 1 and isinstance(path[0], str) else path
        if "" in dotted:
            raise Misconfigured(f"Source{path!r} has an empty part")
        object.__setattr__(self, "path", dotted)


@dataclass(frozen=True, slots=True)
class Lazy:
    """The field is read and validated when it is first looked at, not with the rest of the view."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """Only readers who hold `scope` see the field. To others it is left out, or shown as `mask` if one is given."""

    scope: str
    mask: str | int | float | bool | None = None

    def __post_init__(self) -> None:
        if not self.scope:
            raise Misconfigured('a redacted field names the scope that shows it: Redacted("crew:read")')


@dataclass(frozen=True, slots=True)
class Identifier:
    """The field tells which entity a row is of; several do so together, in order. Its type is str or int."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """The field is shown, and not compared: two rows that differ only in it are equal."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Two numbers of this field are equal when they lie at most `absolute` apart, in the unit of the field."""

    absolute: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.absolute) and self.absolute > 0):
            raise Misconfigured(f"a tolerance is a finite number above 0, not {self.absolute}")


class Once(cached_property[T]):
    """A property that is computed once a view, for readers from whom it is not hidden.

    It does without the lock that its base has in Python 3.11, which costs as much as a small computation.
    """

    def __get__(self, view: Any, owner: type | None = None) -> Any:
        """The value, which the next look finds in the view."""
        if view is None:
            return self
        reader = getattr(view, "_reader", None)  # none in a view that was made by hand
        if reader is not None:
            reader.require(self.attrname)
        found = view.__dict__[self.attrname] = self.func(view)
        return found


def computed(function: Callable[[Any], T]) -> "cached_property[T]":
    """Declare a field that is computed from others: `@computed def late(self) -> bool`. Computed once a view, when needed.

    Markers go to its return type. What it reads of a field that is hidden from the reader hides it, too.
    """
    return computed_field(Once(function))
