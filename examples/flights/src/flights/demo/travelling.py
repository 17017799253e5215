# SPDX-License-Identifier: Apache-2.0
"""Step 5: where an aircraft was at an instant, how that differs from a week later, and a board as it stood."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flights.demo.job import Job
from flights.demo.looking import AIRPORT, TAIL
from flights.reference import departures_until
from nerv.types import format_instant

INSTANT = datetime(2013, 1, 15, 12, tzinfo=UTC)
LATER = INSTANT + timedelta(days=7)
NEW_YORK = ZoneInfo("America/New_York")

State = Mapping[str, Any]


async def travel(job: Job) -> None:
    """N14228 and JFK on 2013-01-15 at 12:00 UTC."""
    then, later = await _aircraft(job, INSTANT), await _aircraft(job, LATER)
    left, right = flat(then), flat(later)
    rows = [(name, left.get(name), right.get(name), _difference(left.get(name), right.get(name))) for name in right]
    job.table(f"aircraft {TAIL}", ("", f"{INSTANT:%F %H:%M}", f"{LATER:%F %H:%M}", "difference"), rows, numbers=1)
    await _board(job)


async def _aircraft(job: Job, instant: datetime) -> State:
    view = await job.client.views.get("aircraft", TAIL, as_of=instant)
    state: State = view["state"]
    by_history = await job.client.streams.state(f"aircraft-{TAIL}", as_of=instant)
    job.expect(f"{TAIL} as of {instant:%F}, by projector and by temporal", state, by_history["state"])
    _check(job, "tailnum", TAIL, instant, state)
    return state


async def _board(job: Job) -> None:
    state: State = (await job.client.views.get("airports", AIRPORT, as_of=INSTANT))["state"]
    _check(job, "origin", AIRPORT, INSTANT, state)
    rows = [
        (
            line["at"][5:16].replace("T", " "),
            line["flight"],
            line["other"],
            line["tailnum"],
            line["status"],
            line["delay"],
        )
        for line in state["departures"]
    ]
    columns = ("at (UTC)", "flight", "to", "aircraft", "status", "delay (min)")
    job.table(f"departures of {AIRPORT} as of {format_instant(INSTANT)[:16]}Z", columns, rows, numbers=1)


def _check(job: Job, column: str, value: str, instant: datetime, state: State) -> None:
    """The number of departures by then, counted from the file."""
    local = instant.astimezone(NEW_YORK).replace(tzinfo=None)
    expected = departures_until(job.archive, column, value, local, job.days)
    job.expect(f"departures of {value} as of {instant:%F %H:%M}", state["totals"]["departures"], expected)


def flat(state: State, prefix: str = "") -> dict[str, object]:
    """Fields of fields by their path."""
    found: dict[str, object] = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _difference(then: object, later: object) -> str:
    if then == later:
        return ""
    if isinstance(then, int) and isinstance(later, int):
        return f"{later - then:+,}"
    return "changed"
