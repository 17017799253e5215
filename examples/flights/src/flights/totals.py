# SPDX-License-Identifier: Apache-2.0
"""What aircraft, airports, carriers and months all count. Sums only, so that the order of events does not matter."""

from dataclasses import dataclass, replace

from flights.events import FlightArrived, FlightCancelled, FlightDeparted

ON_TIME_MINUTES = 15  # the US Department of Transportation counts a flight as on time that is less than this late

AnyFlight = FlightDeparted | FlightArrived | FlightCancelled


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts, and sums of minutes and miles.

    `untimed` are arrivals without air time and delay (they landed elsewhere first): they are in no sum of minutes.
    `on_time` are arrivals less than 15 minutes late. Departures that are neither arrivals are in the air, or nobody
    recorded their arrival.
    """

    departures: int = 0
    arrivals: int = 0
    cancelled: int = 0
    untimed: int = 0
    on_time: int = 0
    departure_delay: int = 0
    arrival_delay: int = 0
    minutes_flown: int = 0
    miles: int = 0


def count(totals: Totals, event: AnyFlight) -> Totals:
    """The totals with one more event."""
    match event:
        case FlightDeparted():
            return replace(
                totals, departures=totals.departures + 1, departure_delay=totals.departure_delay + event.delay
            )
        case FlightArrived(delay=int(delay), air_time=int(air_time)):
            return replace(
                totals,
                arrivals=totals.arrivals + 1,
                on_time=totals.on_time + (delay < ON_TIME_MINUTES),
                arrival_delay=totals.arrival_delay + delay,
                minutes_flown=totals.minutes_flown + air_time,
                miles=totals.miles + event.distance,
            )
        case FlightArrived():
            return replace(totals, arrivals=totals.arrivals + 1, untimed=totals.untimed + 1)
        case FlightCancelled():
            return replace(totals, cancelled=totals.cancelled + 1)


def add(one: Totals, other: Totals) -> Totals:
    """Both together."""
    return Totals(*(getattr(one, name) + getattr(other, name) for name in Totals.__slots__))
