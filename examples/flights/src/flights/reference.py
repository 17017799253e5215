# SPDX-License-Identifier: Apache-2.0
"""The same totals, counted straight from the CSV file by code that shares nothing with the app: what the demo is held to.

Only the standard library is imported here, and a test keeps it so.
"""

import csv
import io
import zipfile
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

COUNTED = (
    "departures", "arrivals", "cancelled", "untimed", "on_time", "departure_delay", "arrival_delay", "minutes_flown",
    "miles",
)  # fmt: skip
UNKNOWN = "NA"

Counts = dict[str, int]


def _zeros() -> Counts:
    return dict.fromkeys(COUNTED, 0)


def _table() -> defaultdict[str, Counts]:
    return defaultdict(_zeros)


@dataclass(slots=True)
class Reference:
    """Totals by tail number, airport, carrier, and month and carrier (`2013-01 UA`); `events` is how many there are."""

    flights: int = 0
    events: int = 0
    aircraft: Mapping[str, Counts] = field(default_factory=_table)
    airports: Mapping[str, Counts] = field(default_factory=_table)
    carriers: Mapping[str, Counts] = field(default_factory=_table)
    months: Mapping[str, Counts] = field(default_factory=_table)


def count_flights(
    archive: Path, months: Collection[int] = range(1, 13), days: Collection[int] = range(1, 32)
) -> Reference:
    """Count the flights scheduled on these days of these months."""
    found = Reference()
    with zipfile.ZipFile(archive) as opened, opened.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline="")):
            if int(row["month"]) in months and int(row["day"]) in days:
                _count(found, row)
    return found


def _count(found: Reference, row: Mapping[str, str]) -> None:
    found.flights += 1
    month = f"{row['year']}-{int(row['month']):02d} {row['carrier']}"
    everywhere = [found.carriers[row["carrier"]], found.months[month]]
    if row["tailnum"] != UNKNOWN:
        everywhere.append(found.aircraft[row["tailnum"]])
    from_here = [*everywhere, found.airports[row["origin"]]]
    found.events += 1
    if row["dep_time"] == UNKNOWN:
        _add(from_here, cancelled=1)
        return
    _add(from_here, departures=1, departure_delay=int(row["dep_delay"]))
    if row["arr_time"] != UNKNOWN:
        found.events += 1
        _add([*everywhere, found.airports[row["dest"]]], **_arrival(row))


def _arrival(row: Mapping[str, str]) -> Counts:
    if row["air_time"] == UNKNOWN:
        return {"arrivals": 1, "untimed": 1}
    return {
        "arrivals": 1,
        "on_time": 1 if int(row["arr_delay"]) < 15 else 0,
        "arrival_delay": int(row["arr_delay"]),
        "minutes_flown": int(row["air_time"]),
        "miles": int(row["distance"]),
    }


def _add(to: Collection[Counts], **amounts: int) -> None:
    for counts in to:
        for name, amount in amounts.items():
            counts[name] += amount


def departures_until(archive: Path, column: str, value: str, until: datetime, days: Collection[int]) -> int:
    """How many flights of an aircraft (`tailnum`) or airport (`origin`) had left by an instant of January, New York time."""
    found = 0
    with zipfile.ZipFile(archive) as opened, opened.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline="")):
            if row["month"] != "1":
                break  # January comes first in the file
            if row[column] == value and row["dep_time"] != UNKNOWN and int(row["day"]) in days:
                planned = datetime(2013, 1, int(row["day"]), int(row["hour"]), int(row["minute"]))  # noqa: DTZ001 - local
                found += planned + timedelta(minutes=int(row["dep_delay"])) <= until
    return found
