# SPDX-License-Identifier: Apache-2.0
"""Quantum units: the smallest pieces of work that a partitioner hands out."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic

from nerv.errors import Misconfigured
from nerv.types import R, T, frozen

Merge = Callable[[Sequence[Any]], Any]
Split = Callable[[int], Sequence[Callable[..., Any]] | None]


@frozen
class Unit:
    """A unit made of a function. `Unit.of` reads the function's parameters; this constructor takes everything as it is.
    It is not generic: units of one graph have results of all types, and are looked up by name.

    The results of `needs` are passed by position, or by keyword where `parameters` names as many parameters.
    `splitter(parts)` answers functions that take the same arguments, or None; `merger` makes one result of theirs.
    `timeout` and `expected` are in seconds. On processes the functions must be importable (pickled by reference).
    """

    name: str
    function: Callable[..., Any]
    needs: tuple[str, ...] = ()
    parameters: tuple[str, ...] | None = None
    splitter: Split | None = None
    merger: Merge | None = None
    timeout: float | None = None
    expected: float | None = None
    group: str = ""

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str = "",
        needs: Iterable[str] | Mapping[str, str] | None = None,
        split: Split | None = None,
        merge: Merge | None = None,
        timeout: float | None = None,
        expected: float | None = None,
    ) -> "Unit":
        """A unit named like its function that needs what its parameters are named after (those without a default).

        `needs` as names is passed by position in that order; as a mapping, from parameter to unit, by keyword.
        Raises Misconfigured for a function without a name, and for a split without its merge.
        """
        found = name or getattr(function, "__name__", "")
        if not found or found == "<lambda>":
            raise Misconfigured(f"{function!r} has no name of its own; give the unit one with name=")
        if (split is None) != (merge is None):
            raise Misconfigured(f"unit {found} can be split only with both split= and merge=")
        names, parameters = _wiring(function, needs)
        return cls(found, function, names, parameters, split, merge, timeout, expected)

    @property
    def kind(self) -> str:
        """Units of one function are of one kind, unless `group` says otherwise."""
        function = self.function
        return self.group or getattr(function, "__qualname__", "") or type(function).__qualname__

    def run(self, inputs: Mapping[str, Any]) -> Any:
        """Call the function with the results that it needs."""
        if self.parameters is None:
            return self.function(*[inputs[need] for need in self.needs])
        return self.function(**{name: inputs[need] for name, need in zip(self.parameters, self.needs, strict=True)})

    def split(self, parts: int) -> "Sequence[Unit] | None":
        """What the splitter makes of it, as units with the same needs."""
        functions = None if self.splitter is None else self.splitter(parts)
        if functions is None:
            return None
        return [
            Unit(f"{self.name}[{number}]", function, self.needs, self.parameters, group=f"{self.kind}/part")
            for number, function in enumerate(functions)
        ]

    def merge(self, results: Sequence[Any]) -> Any:
        """What the merger makes of the parts' results. Raises Misconfigured when there is none."""
        if self.merger is None:
            raise Misconfigured(f"unit {self.name} has no merge=")
        return self.merger(results)


@frozen
class Each(Generic[T, R]):
    """A function applied to each item of what the unit `over` gives (a sequence); the result is a list in that order.

    It can be split: a part takes a slice of the items. `part` is (number, of how many).
    """

    name: str
    function: Callable[[T], R]
    over: str
    part: tuple[int, int] = (0, 1)
    timeout: float | None = None
    expected: float | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The unit that gives the items."""
        return (self.over,)

    @property
    def kind(self) -> str:
        """Whole ones and parts of a function are two kinds, for they last differently."""
        called = getattr(self.function, "__qualname__", "") or type(self.function).__qualname__
        return f"each {called}" if self.part == (0, 1) else f"each {called}/part"

    def run(self, inputs: Mapping[str, Any]) -> list[R]:
        """The results for this part's items."""
        items: Sequence[T] = inputs[self.over]
        number, count = self.part
        function = self.function
        return [function(item) for item in items[number * len(items) // count : (number + 1) * len(items) // count]]

    def split(self, parts: int) -> "Sequence[Each[T, R]] | None":
        """So many slices; a slice is not split again."""
        if self.part != (0, 1):
            return None
        return [Each(f"{self.name}[{number}]", self.function, self.over, (number, parts)) for number in range(parts)]

    def merge(self, results: Sequence[list[R]]) -> list[R]:
        """The slices' lists as one."""
        return [item for part in results for item in part]


def _wiring(
    function: Callable[..., Any], needs: Iterable[str] | Mapping[str, str] | None
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    if isinstance(needs, str):
        raise Misconfigured(f"needs={needs!r} is one string; write needs=({needs!r},)")
    if isinstance(needs, Mapping):
        return tuple(needs.values()), tuple(needs)
    if needs is not None:
        return tuple(needs), None
    found = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    return tuple(found), tuple(found)
