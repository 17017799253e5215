# SPDX-License-Identifier: Apache-2.0
"""The data is what the README of the example says it is."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from flights.data import (
    AIRLINES,
    AIRPORTS,
    FLIGHTS,
    PLANES,
    Flight,
    Zones,
    data_folder,
    events_in_order,
    events_of,
    load_flights,
    read_flights,
)
from flights.data.files import rows
from flights.data.zones import first_after

FOLDER = data_folder()
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def year() -> list[Flight]:
    """Every flight of 2013."""
    return list(read_flights(FOLDER))


@pytest.fixture(scope="module")
def january(year: list[Flight]) -> list[Flight]:
    """The flights of January."""
    return [flight for flight in year if flight.day.startswith("2013-01")]


def test_every_row_becomes_a_flight(year: list[Flight], january: list[Flight]) -> None:
    """The year has 336,776 flights, January 27,004, and no two have the same id."""
    assert len(year) == 336_776
    assert len(january) == 27_004
    assert len({flight.id for flight in year}) == 336_776


def test_the_other_files_are_complete() -> None:
    """There are 3,322 planes, 1,458 airports and 16 airlines."""
    counts = {name: sum(1 for _ in rows(FOLDER / name)) for name in (PLANES, AIRPORTS, AIRLINES)}
    assert counts == {PLANES: 3_322, AIRPORTS: 1_458, AIRLINES: 16}


def test_flights_without_a_tail_number_were_all_cancelled(year: list[Flight], january: list[Flight]) -> None:
    """2,512 flights have no tail number, 155 of them in January, and none of them departed."""
    assert sum(flight.tailnum is None for flight in year) == 2_512
    assert sum(flight.tailnum is None for flight in january) == 155
    assert all(flight.departed is None for flight in year if flight.tailnum is None)


def test_what_is_missing_is_missing_together(year: list[Flight], january: list[Flight]) -> None:
    """Cancelled: 8,255 (521). Departed, never arrived: 458 (15). Arrived without air time and delay: 717 (70)."""

    def edges(flights: list[Flight]) -> tuple[int, int, int]:
        cancelled = [f for f in flights if f.departed is None]
        lost = [f for f in flights if f.departed is not None and f.arrived is None]
        untimed = [f for f in flights if f.arrived is not None and f.air_time is None]
        assert all(f.arrived is None and f.air_time is None for f in cancelled)
        assert all((f.air_time is None) == (f.arrival_delay is None) for f in flights)
        return len(cancelled), len(lost), len(untimed)

    assert edges(year) == (8_255, 458, 717)
    assert edges(january) == (521, 15, 70)


def test_four_airports_are_missing_from_the_list(year: list[Flight]) -> None:
    """BQN, PSE, SJU and STT are flown to, are not in airports.csv, and have a time zone here."""
    listed = {row["faa"] for row in rows(FOLDER / AIRPORTS)}
    missing = {flight.dest for flight in year} - listed
    assert missing == {"BQN", "PSE", "SJU", "STT"}
    assert {str(Zones(FOLDER).of(airport)) for airport in missing} == {"America/Puerto_Rico", "America/St_Thomas"}


def test_departures_are_in_new_york_time(year: list[Flight]) -> None:
    """The scheduled instant is New York's wall clock on the day of the flight, for every row."""
    assert {flight.scheduled.astimezone(NEW_YORK).date().isoformat() == flight.day for flight in year} == {True}


def test_every_arrival_with_a_delay_is_schedule_plus_delay(year: list[Flight]) -> None:
    """The arrival by the wall clock at the destination is the scheduled arrival plus the delay, for all 327,346."""
    zones = Zones(FOLDER)
    scheduled = {
        f"2013-{int(r['month'] or 0):02}-{int(r['day'] or 0):02}-{r['carrier']}{r['flight']}-{r['origin']}": r
        for r in rows(FOLDER / FLIGHTS)
    }
    checked = 0
    for flight in year:
        if flight.arrived is not None and flight.arrival_delay is not None and flight.air_time is not None:
            clock = int(scheduled[flight.id]["sched_arr_time"] or 0)
            planned = first_after(flight.scheduled, clock, zones.of(flight.dest))
            assert flight.arrived == planned + timedelta(minutes=flight.arrival_delay)
            assert flight.departed is not None
            assert flight.arrived - flight.departed >= timedelta(minutes=flight.air_time)
            checked += 1
    assert checked == 327_346


def test_a_clock_that_goes_back_shows_a_time_twice() -> None:
    """Of two instants with the same wall clock, the first one after the departure counts; 2400 is midnight."""
    before, between = datetime(2013, 11, 3, 5, 0, tzinfo=UTC), datetime(2013, 11, 3, 5, 45, tzinfo=UTC)
    assert first_after(before, 130, NEW_YORK) == datetime(2013, 11, 3, 5, 30, tzinfo=UTC)
    assert first_after(between, 130, NEW_YORK) == datetime(2013, 11, 3, 6, 30, tzinfo=UTC)
    assert first_after(before, 2400, NEW_YORK) == datetime(2013, 11, 4, 5, 0, tzinfo=UTC)


def test_january_tells_53_472_events(january: list[Flight]) -> None:
    """26,483 departures, 26,468 arrivals and 521 cancellations, every one with an id and a key of its own kind."""
    events = [event for flight in january for event in events_of(flight)]
    assert Counter(event.type for event in events) == {
        "flight.departed.v1": 26_483,
        "flight.arrived.v1": 26_468,
        "flight.cancelled.v1": 521,
    }
    assert len({event.id for event in events}) == 53_472


def test_events_come_in_order_of_time_over_the_ends_of_months() -> None:
    """Two months give every event once, in order of time, though flights of June arrive in July."""
    months = load_flights(FOLDER, [7, 6], days=[1, 30])
    events = list(events_in_order(months))
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert len(events) == len({e.id for e in events}) == sum(len(events_of(f)) for fs in months.values() for f in fs)
    last = max(i for i, event in enumerate(events) if event.id.startswith("2013-06"))
    assert any(event.id.startswith("2013-07") for event in events[:last])
