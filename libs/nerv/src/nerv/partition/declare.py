# SPDX-License-Identifier: Apache-2.0
"""Partition: a graph written down as functions whose parameters are named after the functions that they need."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from nerv.errors import Misconfigured
from nerv.partition.unit import Each, Merge, Split, Unit
from nerv.protocols import QuantumUnit
from nerv.types import Description, R, T

A = ParamSpec("A")
Q = TypeVar("Q", bound=QuantumUnit)


class Partition:
    """Units in the order in which they were declared; what a partitioner runs. Declared functions stay what they are."""

    def __init__(self, units: Iterable[QuantumUnit] = ()) -> None:
        self._units: dict[str, QuantumUnit] = {}
        for unit in units:
            self.add(unit)

    def __iter__(self) -> Iterator[QuantumUnit]:
        return iter(list(self._units.values()))

    def __len__(self) -> int:
        return len(self._units)

    def describe(self) -> Description:
        """The graph as data; its parts are its units, whose inputs are what they need."""
        parts = tuple(Description(type(unit).__name__, unit.name, inputs=unit.needs) for unit in self)
        return Description("Partition", "graph", counters={"units": len(parts)}, parts=parts)

    def __getitem__(self, name: str) -> QuantumUnit:
        return self._units[name]

    def add(self, unit: Q) -> Q:
        """One unit more. Raises Misconfigured for a name that is taken."""
        if unit.name in self._units:
            raise Misconfigured(f"two units are named {unit.name!r}; give one of them another name=")
        self._units[unit.name] = unit
        return unit

    @overload
    def unit(self, function: Callable[A, R], /) -> Callable[A, R]: ...
    @overload
    def unit(
        self,
        function: None = None,
        /,
        *,
        name: str = "",
        needs: Iterable[str] | Mapping[str, str] | None = None,
        split: Split | None = None,
        merge: Merge | None = None,
        timeout: float | None = None,
        expected: float | None = None,
    ) -> Callable[[Callable[A, R]], Callable[A, R]]: ...
    @overload
    def unit(
        self,
        function: Callable[A, R],
        /,
        *,
        name: str = "",
        needs: Iterable[str] | Mapping[str, str] | None = None,
        split: Split | None = None,
        merge: Merge | None = None,
        timeout: float | None = None,
        expected: float | None = None,
    ) -> Callable[A, R]: ...

    def unit(self, function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
        """Declare a function as a unit, as a decorator with or without settings, or by a call; answers the function as it was.

        Without `needs` its parameters without a default name the units that it needs. The settings are those of `Unit.of`.
        """

        def declare(declared: Callable[..., Any]) -> Callable[..., Any]:
            self.add(Unit.of(declared, **settings))
            return declared

        return declare if function is None else declare(function)

    def each(
        self, function: Callable[[T], R], *, over: str, name: str = "", timeout: float | None = None
    ) -> Each[T, R]:
        """Declare a unit that applies `function` to each item of what `over` gives; it can be split."""
        found = name or getattr(function, "__name__", "")
        if not found or found == "<lambda>":
            raise Misconfigured(f"{function!r} has no name of its own; give the unit one with name=")
        return self.add(Each(found, function, over, timeout=timeout))
