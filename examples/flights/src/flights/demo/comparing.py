# SPDX-License-Identifier: Apache-2.0
"""Hold what the mesh says against what is counted from the file: every aircraft, airport, carrier and month."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import nerv
from flights.reference import Counts, Reference

SHOWN = 10  # differences that are spelt out


@dataclass(slots=True)
class Comparison:
    """What was compared, and what differs; empty `differences` is success."""

    compared: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)


async def compare(client: nerv.Client, reference: Reference) -> Comparison:
    """Read every view and compare all of its totals."""
    result = Comparison()
    _compare(result, "aircraft", await _read(_totals(client, "aircraft")), reference.aircraft)
    _compare(result, "airports", await _read(_totals(client, "airports")), reference.airports)
    _compare(result, "carriers", await _read(_carriers(client)), reference.carriers)
    _compare(result, "months", await _read(_months(client)), reference.months)
    return result


async def _read(pairs: AsyncIterator[tuple[str, Counts]]) -> dict[str, Counts]:
    return {key: counts async for key, counts in pairs}


async def _totals(client: nerv.Client, projection: str) -> AsyncIterator[tuple[str, Counts]]:
    async for view in client.views.list(projection):
        yield view["key"], view["state"]["totals"]


async def _carriers(client: nerv.Client) -> AsyncIterator[tuple[str, Counts]]:
    async for view in client.views.list("carriers"):
        yield view["key"], view["state"]


async def _months(client: nerv.Client) -> AsyncIterator[tuple[str, Counts]]:
    async for view in client.views.list("months"):
        for carrier, totals in view["state"].items():
            yield f"{view['key']} {carrier}", totals


def _compare(result: Comparison, what: str, got: Mapping[str, Counts], expected: Mapping[str, Counts]) -> None:
    result.compared[what] = len(expected)
    for key in sorted(got.keys() | expected.keys()):
        if key not in got:
            result.differences.append(f"{what} {key} is in the file, and there is no view of it")
        elif key not in expected:
            result.differences.append(f"{what} {key} has a view, and is not in the file: was something loaded before?")
        elif got[key] != expected[key]:
            fields = (f"{n} {got[key].get(n)} is not {c}" for n, c in expected[key].items() if got[key].get(n) != c)
            result.differences.append(f"{what} {key}: {', '.join(fields)}")
