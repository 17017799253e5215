# SPDX-License-Identifier: Apache-2.0
"""The NERV app of the demo: the flights that left New York in 2013. Services host it by `NERV_APP=flights:app`."""

from flights import aircraft, airports, carriers, events, months, perspectives, reactions, report, sources
from flights.registry import app

__all__ = [
    "aircraft",
    "airports",
    "app",
    "carriers",
    "events",
    "months",
    "perspectives",
    "reactions",
    "report",
    "sources",
]
