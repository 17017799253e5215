# SPDX-License-Identifier: Apache-2.0
"""The projection `aircraft`: where each one is, and what it has flown so far. Folded straight from history."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from flights.events import FLIGHT_EVENTS, FlightArrived, FlightCancelled, FlightDeparted
from flights.registry import app
from flights.totals import AnyFlight, Totals, count


@dataclass(frozen=True, slots=True)
class Leg:
    """The flight that an aircraft is on, or was on last. Delays are minutes; None while not known."""

    flight: str
    origin: str
    dest: str
    scheduled: datetime
    departed: datetime
    departure_delay: int
    arrived: datetime | None = None
    arrival_delay: int | None = None


@dataclass(frozen=True, slots=True)
class Aircraft:
    """What is known of an aircraft.

    `at` is the airport it is at, None while it flies and while only cancelled flights of it are known; `since` when that
    became so.
    """

    tailnum: str
    carrier: str
    status: Literal["unknown", "flying", "landed"]
    at: str | None
    since: datetime
    leg: Leg | None = None
    totals: Totals = field(default_factory=Totals)


@app.projection("aircraft", on=FLIGHT_EVENTS, category="aircraft", state=Aircraft)
def aircraft(state: Aircraft | None, event: AnyFlight) -> Aircraft:
    """The aircraft after one more event."""
    before = state or Aircraft(event.tailnum or "", event.carrier, "unknown", None, event.scheduled)
    totals = count(before.totals, event)
    match event:
        case FlightDeparted():
            leg = Leg(event.flight, event.origin, event.dest, event.scheduled, event.at, event.delay)
            return Aircraft(before.tailnum, event.carrier, "flying", None, event.at, leg, totals)
        case FlightArrived():
            return _arrived(replace(before, totals=totals), event)
        case FlightCancelled():
            return replace(before, totals=totals)


def _arrived(before: Aircraft, event: FlightArrived) -> Aircraft:
    if before.leg is None or before.leg.flight != event.flight:
        # 130 rows of the year have an aircraft depart before it arrives: where it is, the later departure says.
        return before
    leg = replace(before.leg, arrived=event.at, arrival_delay=event.delay)
    return replace(before, status="landed", at=event.dest, since=event.at, leg=leg)
