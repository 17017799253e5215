# SPDX-License-Identifier: Apache-2.0
"""The graph of a run, checked before anything runs: names, needs, circles."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from nerv.errors import Invalid, Misconfigured, TooLarge
from nerv.protocols import QuantumUnit
from nerv.types import check_id


@dataclass(slots=True)
class Plan:
    """Units by number: their names, the numbers of what they need, and a prepared sorter over the numbers."""

    units: list[QuantumUnit]
    names: list[str]
    needs: list[tuple[int, ...]]
    sorter: TopologicalSorter[int]

    @classmethod
    def of(cls, units: Iterable[QuantumUnit], limit: int) -> "Plan":
        """The graph of `units`, at most `limit` of them.

        Raises Misconfigured for a name given twice, a need that is no unit and a circle (named in full); TooLarge beyond the
        limit; Invalid for a name that is none.
        """
        found: list[QuantumUnit] = []
        numbers: dict[str, int] = {}
        classes: set[type] = set()  # looking a protocol's members up takes longer than running a small unit
        for unit in units:
            if len(found) == limit:
                raise TooLarge(f"the run has more than {limit} units; divide it, or raise limit=")
            if type(unit) not in classes:
                classes.add(_unit_class(unit))
            name = check_id(unit.name, "the name of a unit")
            if name in numbers:
                raise Misconfigured(f"two units are named {name!r}; names are unique in a run: rename one of them")
            numbers[name] = len(found)
            found.append(unit)
        needs = [_numbers(unit, numbers) for unit in found]
        names = list(numbers)
        return cls(found, names, needs, _sorted(names, needs))


def _unit_class(unit: object) -> type:
    if not isinstance(unit, QuantumUnit):
        raise Invalid(
            f"{unit!r} is no unit: it lacks name, needs, run, split or merge; make one with Unit.of(function)"
        )
    return type(unit)


def _numbers(unit: QuantumUnit, numbers: dict[str, int]) -> tuple[int, ...]:
    try:
        return tuple([numbers[need] for need in unit.needs])
    except KeyError as missing:
        wanted = str(missing.args[0])
    close = difflib.get_close_matches(wanted, numbers, 1)
    hint = f"; did you mean {close[0]!r}?" if close else "; add that unit, or take the need away"
    raise Misconfigured(f"unit {unit.name!r} needs {wanted!r}, which is not among the units{hint}")


def _sorted(names: list[str], needs: list[tuple[int, ...]]) -> TopologicalSorter[int]:
    sorter = TopologicalSorter(dict(enumerate(needs)))
    try:
        sorter.prepare()
    except CycleError as error:
        # graphlib lists each before the one that needs it; read backwards it says what needs what.
        path = " needs ".join(names[number] for number in reversed(error.args[1]))
        raise Misconfigured(f"the units go round in a circle: {path}; take one of these needs away") from None
    return sorter
