# SPDX-License-Identifier: Apache-2.0
"""The events of the app. Instants are UTC; delays are minutes, negative when early."""

from datetime import datetime

import nerv
from flights.registry import app

FLIGHT_TOPIC = "flights.flight.v1"
REPORT_TOPIC = "flights.report.v1"

DEPARTED = "flight.departed.v1"
ARRIVED = "flight.arrived.v1"
CANCELLED = "flight.cancelled.v1"
FLIGHT_EVENTS = (DEPARTED, ARRIVED, CANCELLED)

REPORTED = "report.monthly.v1"


class FlightEvent(nerv.Event):
    """What every event of a flight says.

    `day` is the local day of departure as scheduled (`2013-01-31`), `distance` miles. Some flights that were cancelled were
    never given an aircraft, and have no `tailnum`; the subject of the event, which is the flight, keys them.
    """

    flight: str
    day: str
    carrier: str
    number: int
    tailnum: str | None = None
    origin: str
    dest: str
    distance: int
    scheduled: datetime

    @property
    def stream(self) -> str:
        """The stream of history that the event belongs to: its aircraft's, or its own where there is no aircraft."""
        return f"aircraft-{self.tailnum}" if self.tailnum else f"flight-{self.flight}"

    @property
    def month(self) -> str:
        """`2013-01`."""
        return self.day[:7]


@app.event(DEPARTED, topic=FLIGHT_TOPIC, key="tailnum")
class FlightDeparted(FlightEvent):
    """A flight has left its gate, `delay` minutes late."""

    at: datetime
    delay: int


@app.event(ARRIVED, topic=FLIGHT_TOPIC, key="tailnum")
class FlightArrived(FlightEvent):
    """A flight has reached its gate. One that landed elsewhere first has neither `delay` nor `air_time` (minutes)."""

    at: datetime
    delay: int | None = None
    air_time: int | None = None


@app.event(CANCELLED, topic=FLIGHT_TOPIC, key="tailnum")
class FlightCancelled(FlightEvent):
    """A flight did not leave."""


@app.event(REPORTED, topic=REPORT_TOPIC, key="year")
class MonthlyReport(nerv.Event):
    """The result of the workflow `monthly-report`: a line a month and a line a carrier."""

    year: str
    months: dict[str, dict[str, int]]
    carriers: dict[str, dict[str, int]]
