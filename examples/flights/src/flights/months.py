# SPDX-License-Identifier: Apache-2.0
"""The projection `months`: what each carrier flew in a month. A flight belongs to the month it was scheduled to leave in."""

from flights.events import FLIGHT_EVENTS, FlightEvent
from flights.registry import app
from flights.totals import AnyFlight, Totals, count

Month = dict[str, Totals]  # by carrier


def month_of(event: FlightEvent) -> str:
    """`2013-01`."""
    return event.month


@app.projection("months", on=FLIGHT_EVENTS, key=month_of, state=Month)
def months(state: Month | None, event: AnyFlight) -> Month:
    """The month after one more event."""
    before = state or {}
    return {**before, event.carrier: count(before.get(event.carrier, Totals()), event)}
