# SPDX-License-Identifier: Apache-2.0
"""A small app for tests of the projector: trips of planes, in every kind of projection. `NERV_APP=trips:app`."""

from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

import nerv
from nerv.perspectives import computed

POISON = 13  # minutes of a trip that no fold takes

app = nerv.App("trips")


@app.event("trip.ended.v1")
class TripEnded(nerv.Event):
    """A plane has flown."""

    plane: str
    carrier: str
    origin: str
    dest: str
    minutes: int


@app.event("trip.noted.v1")
class TripNoted(nerv.Event):
    """Nothing that any projection here folds."""

    text: str


class Plane(BaseModel, frozen=True):
    """Where a plane is, and how much it has flown."""

    at: str
    trips: int
    minutes: int


@app.projection("plane", on=["trip.ended.v1"], state=Plane, indexes={"at": str, "minutes": int})
def plane(state: Plane | None, event: TripEnded) -> Plane:
    """Straight from history."""
    if event.minutes == POISON:
        raise ValueError("thirteen minutes")
    before = state or Plane(at="", trips=0, minutes=0)
    return Plane(at=event.dest, trips=before.trips + 1, minutes=before.minutes + event.minutes)


@app.projection("airports", on=["trip.ended.v1"], key=lambda event: (event.origin, event.dest))
def airports(state: dict[str, Any] | None, event: TripEnded) -> dict[str, Any]:
    """Each event to two keys."""
    before = state or {"trips": 0, "last": None}
    return {"trips": before["trips"] + 1, "last": event.plane}


@dataclass(frozen=True, slots=True)
class Carrier:
    """What a carrier has flown."""

    trips: int = 0
    minutes: int = 0


@app.projection("carriers", on=["trip.ended.v1"], key={"trip.ended.v1": "carrier"}, state=Carrier)
def carriers(state: Carrier | None, event: TripEnded) -> Carrier:
    """Rekeyed by a field."""
    before = state or Carrier()
    return replace(before, trips=before.trips + 1, minutes=before.minutes + event.minutes)


@app.perspective("plane", "passenger")
class Passenger(nerv.Perspective):
    """Where the plane is, and hours instead of minutes."""

    at: str
    minutes: int

    @computed
    def hours(self) -> float:
        """What it has flown."""
        return self.minutes / 60
