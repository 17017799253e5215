# SPDX-License-Identifier: Apache-2.0
"""The projection `airports`: boards of what departed and arrived last, and what each airport has handled so far.

Its events are rekeyed, and come from the streams of many aircraft in no certain order: the boards order by instant, and
the totals are sums, so that every order gives the same state.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from flights.events import ARRIVED, CANCELLED, DEPARTED, FLIGHT_EVENTS, FlightArrived, FlightCancelled, FlightDeparted
from flights.registry import app
from flights.totals import AnyFlight, Totals, count

BOARD_LINES = 10


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a board: `other` is where a departure goes to, or where an arrival comes from."""

    at: datetime
    flight: str
    other: str
    scheduled: datetime
    status: Literal["departed", "cancelled", "arrived"]
    delay: int | None
    tailnum: str | None


@dataclass(frozen=True, slots=True)
class Airport:
    """An airport: its boards, the latest line first, and its totals (departures and cancelled from it, arrivals at it)."""

    departures: tuple[Line, ...] = ()
    arrivals: tuple[Line, ...] = ()
    totals: Totals = field(default_factory=Totals)


@app.projection(
    "airports", on=FLIGHT_EVENTS, key={DEPARTED: "origin", CANCELLED: "origin", ARRIVED: "dest"}, state=Airport
)
def airports(state: Airport | None, event: AnyFlight) -> Airport:
    """The airport after one more event."""
    before = state or Airport()
    totals = count(before.totals, event)
    line = line_of(event)
    if line.status == "arrived":
        return Airport(before.departures, with_line(before.arrivals, line), totals)
    return Airport(with_line(before.departures, line), before.arrivals, totals)


def line_of(event: AnyFlight) -> Line:
    """The line that a board shows of an event."""
    match event:
        case FlightDeparted():
            return Line(event.at, event.flight, event.dest, event.scheduled, "departed", event.delay, event.tailnum)
        case FlightArrived():
            return Line(event.at, event.flight, event.origin, event.scheduled, "arrived", event.delay, event.tailnum)
        case FlightCancelled():
            return Line(event.scheduled, event.flight, event.dest, event.scheduled, "cancelled", None, event.tailnum)


def with_line(board: tuple[Line, ...], line: Line) -> tuple[Line, ...]:
    """The board with one more line, where its instant puts it, and no longer than a board is."""
    if not board or _order(line) > _order(board[0]):  # as most come
        return (line, *board[: BOARD_LINES - 1])
    place = sum(_order(other) > _order(line) for other in board)
    return (*board[:place], line, *board[place:])[:BOARD_LINES]


def _order(line: Line) -> tuple[datetime, str]:
    return line.at, line.flight
