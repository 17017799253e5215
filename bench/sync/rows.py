# SPDX-License-Identifier: Apache-2.0
"""The rows that both contestants compare: made when they are asked for, as a database would give them."""

from collections.abc import Iterator
from typing import Any

ATTRIBUTES = ("year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine")


def key_of(number: int) -> str:
    """The identifier of a plane."""
    return f"N{number:07d}"


def row_of(number: int, edition: int = 0) -> dict[str, Any]:
    """A plane; another edition has another number of seats."""
    return {
        "tailnum": key_of(number),
        "year": 1990 + number % 30,
        "type": "Fixed wing multi engine",
        "manufacturer": "BOEING",
        "model": f"737-{number % 900}",
        "engines": 2,
        "seats": 149 + edition,
        "speed": None,
        "engine": "Turbo-fan",
    }


def rows(count: int, every: int = 0, edition: int = 0) -> Iterator[dict[str, Any]]:
    """So many planes, each `every`-th of them in another edition."""
    for number in range(count):
        yield row_of(number, edition if every and number % every == 0 else 0)
