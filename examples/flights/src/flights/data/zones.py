# SPDX-License-Identifier: Apache-2.0
"""Clocks on walls to instants: an arrival is told in the local time of where it was."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from flights.data.files import AIRPORTS, rows
from nerv.errors import NotFound

# Airports that flights go to and airports.csv does not have.
NOT_LISTED = {
    "BQN": ZoneInfo("America/Puerto_Rico"),
    "PSE": ZoneInfo("America/Puerto_Rico"),
    "SJU": ZoneInfo("America/Puerto_Rico"),
    "STT": ZoneInfo("America/St_Thomas"),
}


class Zones:
    """The time zone of every airport."""

    def __init__(self, folder: Path) -> None:
        listed = ((row["faa"], row["tzone"]) for row in rows(folder / AIRPORTS))
        self._zones = {faa: ZoneInfo(zone) for faa, zone in listed if faa and zone} | NOT_LISTED

    def of(self, airport: str) -> ZoneInfo:
        """The zone of an airport. Raises NotFound."""
        zone = self._zones.get(airport)
        if zone is None:
            raise NotFound(f"the time zone of {airport} is not known: add it to flights.data.zones.NOT_LISTED")
        return zone


def first_after(start: datetime, clock: int, zone: ZoneInfo) -> datetime:
    """The first instant after `start` at which clocks in `zone` show `clock` (830 is 8:30, 2400 is midnight), in UTC.

    No flight of the data takes a day. Where clocks show a time twice (autumn), the earlier one that is after `start`.
    """
    shown = time(clock // 100 % 24, clock % 100)
    day = start.astimezone(zone).date()
    for later in (0, 1, 2):
        local = datetime.combine(day + timedelta(days=later), shown, zone)
        for fold in (0, 1):
            instant = local.replace(fold=fold).astimezone(UTC)
            if instant > start:
                return instant
    raise AssertionError("every clock shows every time within two days")
