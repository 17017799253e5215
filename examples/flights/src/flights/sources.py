# SPDX-License-Identifier: Apache-2.0
"""The registers of planes, airlines and airports, kept equal to streams by `sync`: `plane-N14228`, `airport-JFK`.

The files are looked for in the folder named by FLIGHTS_DATA, else in the installed package.
"""

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator

import nerv.sync
from flights.data.files import AIRLINES, AIRPORTS, MISSING, PLANES, data_folder
from flights.registry import app

VARIABLE = "FLIGHTS_DATA"


def registers() -> Path:
    """The folder of the registers."""
    return Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else data_folder()


def known(value: object) -> object:
    """What the files write as `NA` is not known."""
    return None if value == MISSING else value


Number = Annotated[int | None, BeforeValidator(known)]
Text = Annotated[str | None, BeforeValidator(known)]


class Plane(BaseModel):
    """A plane. `year` of manufacture, `speed` miles an hour."""

    tailnum: str
    year: Number
    type: Text
    manufacturer: Text
    model: Text
    engines: Number
    seats: Number
    speed: Number
    engine: Text


class Airport(BaseModel):
    """An airport. Degrees, feet; `tz` hours from UTC in winter, `dst` the rule of summer time, `tzone` the IANA zone."""

    faa: str
    name: str
    lat: float
    lon: float
    alt: int
    tz: float
    dst: str
    tzone: Text


@app.source("planes")
class Planes(nerv.sync.CsvSource):
    """3,322 planes. Of the 4,043 aircraft that flew, 721 are not registered here."""

    path = PLANES
    folder = registers
    category = "plane"
    key = "tailnum"
    row = Plane


@app.source("airlines")
class Airlines(nerv.sync.CsvSource):
    """16 airlines."""

    path = AIRLINES
    folder = registers
    category = "airline"
    key = "carrier"


@app.source("airports")
class Airports(nerv.sync.CsvSource):
    """1,458 airports."""

    path = AIRPORTS
    folder = registers
    category = "airport"
    key = "faa"
    row = Airport
