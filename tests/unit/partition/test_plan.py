# SPDX-License-Identifier: Apache-2.0
"""Graphs are checked before anything runs, and units are read from functions."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from nerv.errors import Invalid, Misconfigured, TooLarge
from nerv.partition import Each, Partition, QuantumPartitioner, Unit
from nerv.protocols import QuantumUnit
from tests.faults.core.partition_units import add, parts, whole


class Plain:
    """A unit of somebody else's making."""

    def __init__(self, name: str, needs: tuple[str, ...] = ()) -> None:
        self.name = name
        self.needs = needs

    def run(self, inputs: Mapping[str, Any]) -> Any:
        return sorted(inputs)

    def split(self, parts: int) -> Sequence[QuantumUnit] | None:
        return None

    def merge(self, results: Sequence[Any]) -> Any:
        return results


def run(*units: QuantumUnit, limit: int = 100) -> dict[str, Any]:
    """The results of units that all end well."""
    return dict(QuantumPartitioner(limit=limit).run_sync(units).check().results)


def test_a_circle_is_named_in_full() -> None:
    """The error gives the whole path, each unit with the one that it needs, and runs nothing."""
    ran: list[str] = []
    free = Unit("free", partial(ran.append, "free"))
    with pytest.raises(Misconfigured) as caught:
        run(Unit("a", add, ("c",)), free, Unit("b", add, ("a",)), Unit("c", add, ("b",)))
    path = str(caught.value).partition(": ")[2].partition(";")[0].split(" needs ")
    assert len(path) == 4
    assert path[0] == path[-1]
    assert all(need == {"a": "c", "b": "a", "c": "b"}[unit] for unit, need in pairwise(path))
    assert ran == []


def test_a_unit_that_needs_itself_is_a_circle() -> None:
    """The shortest one."""
    with pytest.raises(Misconfigured, match="a needs a"):
        run(Unit("a", add, ("a",)))


def test_a_missing_need_is_named_with_what_was_meant() -> None:
    """A misspelt name leads to the one that is there."""
    with pytest.raises(Misconfigured, match=r"'b' needs 'laod'.*'load'"):
        run(Unit("load", add), Unit("b", add, ("laod",)))
    with pytest.raises(Misconfigured, match="add that unit"):
        run(Unit("b", add, ("nothing like it",)))


def test_names_are_unique_and_names_at_all() -> None:
    """Two units of one name, an empty name and a control character are refused."""
    with pytest.raises(Misconfigured, match="'a'"):
        run(Unit("a", add), Unit("a", add))
    for bad in ("", "a\nb"):
        with pytest.raises(Invalid):
            run(Unit(bad, add))


def test_a_run_is_bounded() -> None:
    """One unit more than the limit is refused, and the limit named; as many as that are not."""
    units = [Unit(str(number), add) for number in range(4)]
    assert len(run(*units, limit=4)) == 4
    with pytest.raises(TooLarge, match="3"):
        run(*units, limit=3)


def test_what_is_no_unit_is_refused() -> None:
    """A bare function is no unit, and the error says how to make it one."""
    with pytest.raises(Invalid, match=r"Unit\.of"):
        QuantumPartitioner().run_sync([add])  # type: ignore[list-item] # the mistake itself


def test_any_object_of_the_shape_is_a_unit() -> None:
    """A class of somebody else's runs beside ours, with the inputs that it named and no others."""
    assert run(Plain("x"), Plain("y"), Plain("z", ("x", "y")), Unit("w", len, ("z",))) == {
        "x": [],
        "y": [],
        "z": ["x", "y"],
        "w": 2,
    }


def test_parameters_are_needs() -> None:
    """A declared function gets the results of the functions that its parameters are named after; defaults are left alone."""
    partition = Partition()

    @partition.unit
    def rows() -> list[int]:
        return [3, 4]

    @partition.unit
    def total(rows: list[int]) -> int:
        return sum(rows)

    @partition.unit(name="mean")
    def average(total: int, *, rows: list[int], digits: int = 1) -> float:
        return round(total / len(rows), digits)

    assert len(partition) == 3
    assert partition["mean"].needs == ("total", "rows")
    assert average(7, rows=[1, 2]) == 3.5
    assert run(*partition) == {"rows": [3, 4], "total": 7, "mean": 3.5}


def test_needs_can_be_given() -> None:
    """Names are passed by position in their order, a mapping by keyword."""
    partition = Partition()
    partition.unit(lambda: 10, name="ten")
    partition.unit(lambda: 4, name="four")
    partition.unit(lambda a, b: a - b, name="by place", needs=("ten", "four"))
    partition.unit(lambda a, b: a - b, name="by name", needs={"b": "ten", "a": "four"})
    results = run(*partition)
    assert (results["by place"], results["by name"]) == (6, -6)


def test_a_declaration_that_cannot_work_is_refused() -> None:
    """No name, a name twice, a string for needs, a split without its merge."""
    partition = Partition([Unit("a", add)])
    with pytest.raises(Misconfigured, match="name="):
        partition.unit(lambda: 1)
    with pytest.raises(Misconfigured, match="'a'"):
        partition.unit(add, name="a")
    with pytest.raises(Misconfigured, match=r"needs=\('a',\)"):
        Unit.of(add, needs="a")
    with pytest.raises(Misconfigured, match="merge"):
        Unit.of(whole, split=parts)
    with pytest.raises(Misconfigured, match="name="):
        partition.each(lambda item: item, over="a")


def test_each_is_the_same_in_one_piece_and_in_many() -> None:
    """For any number of parts the merged slices are what the whole gives; a slice is not split again."""
    for size in (0, 1, 7, 10):
        unit: Each[int, int] = Each("double", lambda item: item * 2, "rows")
        inputs = {"rows": list(range(size))}
        for count in (1, 2, 3, 10, 11):
            pieces = unit.split(count)
            assert pieces is not None
            assert unit.merge([piece.run(inputs) for piece in pieces]) == unit.run(inputs)
            assert count == 1 or pieces[0].split(2) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"backend": "fibres"},
        {"workers": (0, 1)},
        {"workers": (3, 2)},
        {"target": 0.0},
        {"grace": -1.0},
        {"queue": 0},
        {"limit": 0},
        {"on_error": "ignore"},
        {"lost": "found"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    """Nothing is made of them."""
    with pytest.raises(Invalid):
        QuantumPartitioner(**settings)
