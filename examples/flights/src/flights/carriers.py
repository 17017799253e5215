# SPDX-License-Identifier: Apache-2.0
"""The projection `carriers`: how punctual each one is."""

from flights.events import FLIGHT_EVENTS
from flights.registry import app
from flights.totals import AnyFlight, Totals, count


@app.projection("carriers", on=FLIGHT_EVENTS, key="carrier", state=Totals)
def carriers(state: Totals | None, event: AnyFlight) -> Totals:
    """The carrier after one more event."""
    return count(state or Totals(), event)
