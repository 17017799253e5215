# SPDX-License-Identifier: Apache-2.0
"""What comes in on the topic goes into history: one stream an aircraft."""

import nerv
from flights.events import ARRIVED, CANCELLED, DEPARTED, FlightArrived, FlightCancelled, FlightDeparted
from flights.registry import app
from nerv.effects import Append


@app.on(DEPARTED)
def record_departure(event: FlightDeparted) -> Append:
    """A departure goes to its aircraft's stream."""
    return nerv.append(event.stream, event)


@app.on(ARRIVED)
def record_arrival(event: FlightArrived) -> Append:
    """An arrival goes to its aircraft's stream."""
    return nerv.append(event.stream, event)


@app.on(CANCELLED)
def record_cancellation(event: FlightCancelled) -> Append:
    """A cancellation goes to its aircraft's stream, or to the flight's own where no aircraft was assigned."""
    return nerv.append(event.stream, event)
