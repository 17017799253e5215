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
    for what, views, expected in (
        ("aircraft", _totals(client, "aircraft"), reference.aircraft),
        ("airports", _totals(client, "airports"), reference.airports),
        ("carriers", _carriers(client), reference.carriers),
        ("months", _months(client), reference.months),
    ):
        got = {key: counts async for key, counts in views}
        result.compared[what] = len(expected)
        result.differences += differences(what, got, expected)
    return result


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


def differences(what: str, got: Mapping[str, Counts], expected: Mapping[str, Counts]) -> list[str]:
    """What differs, a sentence for each key."""
    found = []
    for key in sorted(got.keys() | expected.keys()):
        if key not in got:
            found.append(f"{what} {key} is in the file, and there is no view of it")
        elif key not in expected:
            found.append(f"{what} {key} has a view, and is not in the file: was something loaded before?")
        elif got[key] != expected[key]:
            names = sorted(got[key].keys() | expected[key].keys())
            pairs = ((name, got[key].get(name), expected[key].get(name)) for name in names)
            fields = (f"{name} {mine} is not {theirs}" for name, mine, theirs in pairs if mine != theirs)
            found.append(f"{what} {key}: {', '.join(fields)}")
    return found
