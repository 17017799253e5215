# SPDX-License-Identifier: Apache-2.0
"""Two kinds of readers: passengers ask where and when, operations asks how much and how well."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

import nerv
from flights.aircraft import Leg
from flights.airports import Line
from flights.registry import app
from flights.totals import Totals
from nerv.perspectives import Source, computed


class Operations(nerv.Perspective):
    """What operations sees of anything that has totals."""

    totals: Totals

    @computed
    def hours_flown(self) -> float:
        """Hours in the air, to a tenth."""
        return round(self.totals.minutes_flown / 60, 1)

    @computed
    def punctuality(self) -> float | None:
        """Arrivals on time, in percent of those whose delay is known."""
        return punctuality(self.totals)

    @computed
    def mean_departure_delay(self) -> float | None:
        """Minutes."""
        return mean(self.totals.departure_delay, self.totals.departures)


def punctuality(totals: Totals) -> float | None:
    """Percent of the arrivals with a known delay that were on time; None before the first."""
    known = totals.arrivals - totals.untimed
    return round(100 * totals.on_time / known, 1) if known else None


def mean(total: int, number: int) -> float | None:
    """The mean, to a tenth; None of nothing."""
    return round(total / number, 1) if number else None


@app.perspective("aircraft", "passenger")
class AircraftForPassengers(nerv.Perspective):
    """Where the aircraft is, and how its flight goes."""

    status: str
    at: str | None
    since: datetime
    leg: Leg | None


@app.perspective("aircraft", "operations")
class AircraftForOperations(Operations):
    """What the aircraft has flown."""

    tailnum: str
    carrier: str
    status: str
    at: str | None


@app.perspective("airports", "passenger")
class AirportForPassengers(nerv.Perspective):
    """The boards."""

    departures: tuple[Line, ...]
    arrivals: tuple[Line, ...]


@app.perspective("airports", "operations")
class AirportForOperations(Operations):
    """What the airport has handled."""


@app.perspective("carriers", "passenger")
class CarrierForPassengers(nerv.Perspective):
    """Whether to fly with them."""

    arrivals: int = Field(exclude=True)
    untimed: int = Field(exclude=True)
    on_time: int = Field(exclude=True)

    @computed
    def punctuality(self) -> float | None:
        """Arrivals on time, in percent."""
        return punctuality(Totals(arrivals=self.arrivals, untimed=self.untimed, on_time=self.on_time))


@app.perspective("carriers", "operations")
class CarrierForOperations(Operations):
    """What the carrier has flown; its state is its totals."""

    totals: Annotated[Totals, Source()]
