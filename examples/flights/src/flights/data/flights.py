# SPDX-License-Identifier: Apache-2.0
"""Flights as they were: one object a row, with instants in UTC."""

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from flights.data.files import FLIGHTS, Row, rows
from flights.data.zones import Zones, first_after


@dataclass(frozen=True, slots=True)
class Flight:
    """One flight. Delays are minutes, negative when early; `air_time` minutes, `distance` miles; instants are UTC.

    `day` is the local day of departure as scheduled. `departed` is None for a flight that was cancelled, `arrived` for one
    whose arrival nobody recorded, `arrival_delay` and `air_time` for one that landed somewhere else first.
    """

    id: str
    day: str
    carrier: str
    number: int
    tailnum: str | None
    origin: str
    dest: str
    distance: int
    scheduled: datetime
    departed: datetime | None
    departure_delay: int | None
    arrived: datetime | None
    arrival_delay: int | None
    air_time: int | None


def read_flights(
    folder: Path, months: Collection[int] = range(1, 13), days: Collection[int] = range(1, 32)
) -> Iterator[Flight]:
    """The flights scheduled on these days of these months of 2013, as the file has them: by month, loosely by time."""
    zones = Zones(folder)
    for row in rows(folder / FLIGHTS, month=_texts(months), day=_texts(days)):
        yield _flight(row, zones)


def load_flights(
    folder: Path, months: Collection[int], days: Collection[int] = range(1, 32)
) -> dict[int, list[Flight]]:
    """The flights of each of these months, in order of the months."""
    found: dict[int, list[Flight]] = {month: [] for month in sorted(months)}
    for flight in read_flights(folder, months, days):
        found[int(flight.day[5:7])].append(flight)
    return found


def _flight(row: Row, zones: Zones) -> Flight:
    day = f"{_number(row, 'year')}-{_number(row, 'month'):02}-{_number(row, 'day'):02}"
    carrier, number, origin, dest = (
        _text(row, "carrier"),
        _number(row, "flight"),
        _text(row, "origin"),
        _text(row, "dest"),
    )
    # The column is the scheduled hour in UTC, so that the hour that New York's clocks show twice is not in doubt.
    scheduled = datetime.fromisoformat(_text(row, "time_hour")) + timedelta(minutes=_number(row, "minute"))
    delay = _maybe(row, "dep_delay")
    departed = None if delay is None else scheduled + timedelta(minutes=delay)
    clock = _maybe(row, "arr_time")
    arrived = None if departed is None or clock is None else first_after(departed, clock, zones.of(dest))
    return Flight(
        id=f"{day}-{carrier}{number}-{origin}",
        day=sys.intern(day),
        carrier=carrier,
        number=number,
        tailnum=sys.intern(tail) if (tail := row["tailnum"]) else None,
        origin=origin,
        dest=dest,
        distance=_number(row, "distance"),
        scheduled=scheduled,
        departed=departed,
        departure_delay=delay,
        arrived=arrived,
        arrival_delay=_maybe(row, "arr_delay"),
        air_time=_maybe(row, "air_time"),
    )


def _texts(numbers: Collection[int]) -> list[str]:
    return [str(number) for number in numbers]


def _text(row: Row, column: str) -> str:
    value = row[column]
    if value is None:
        raise ValueError(f"a flight lacks {column}: {dict(row)}")
    return sys.intern(value)


def _number(row: Row, column: str) -> int:
    return int(_text(row, column))


def _maybe(row: Row, column: str) -> int | None:
    value = row[column]
    return None if value is None else int(value)
