# SPDX-License-Identifier: Apache-2.0
"""Step 3: every total against the file, and the same states in two perspectives."""

from typing import Any

from flights.demo.comparing import SHOWN, compare
from flights.demo.job import Job

TAIL = "N14228"
AIRPORT = "JFK"


async def look(job: Job) -> None:
    """Compare everything, then show some of it."""
    found = await compare(job.client, job.reference)
    compared = ", ".join(f"{count:,} {what}" for what, count in found.compared.items())
    job.screen.print(f"  compared with the file: {compared}; {len(found.differences)} differ")
    job.problems += found.differences[:SHOWN]
    if len(found.differences) > SHOWN:
        job.problems.append(f"and {len(found.differences) - SHOWN} more totals differ")
    await _carriers(job)
    await _perspectives(job, "aircraft", TAIL)
    await _perspectives(job, "airports", AIRPORT)


async def _carriers(job: Job) -> None:
    views = [view async for view in job.client.views.list("carriers", perspective="operations")]
    rows = [
        (
            view["key"],
            view["state"]["totals"]["departures"],
            view["state"]["totals"]["cancelled"],
            view["state"]["hours_flown"],
            view["state"]["mean_departure_delay"],
            view["state"]["punctuality"],
        )
        for view in sorted(views, key=lambda view: -(view["state"]["punctuality"] or 0))
    ]
    columns = ("carrier", "departures", "cancelled", "hours flown", "mean delay (min)", "on time (%)")
    job.table("carriers, by punctuality", columns, rows, numbers=5)


async def _perspectives(job: Job, projection: str, key: str) -> None:
    for perspective in ("passenger", "operations"):
        view = await job.client.views.get(projection, key, perspective=perspective)
        rows = [(name, brief(value)) for name, value in view["state"].items()]
        job.table(f"{projection} {key}, as {perspective} sees it", ("field", "value"), rows)


def brief(value: Any) -> object:
    """A value in one cell: the first line of a board, the fields of an object."""
    if isinstance(value, list):
        return f"{len(value)} lines, the latest: {brief(value[0])}" if value else "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items() if part is not None)
    return value
