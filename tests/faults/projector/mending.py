# SPDX-License-Identifier: Apache-2.0
"""Keys that are parked go on when their events are skipped, while the owners of their partitions are killed."""

import asyncio
from collections.abc import Sequence

from nerv.client import Client
from tests.faults.projector.stage import REPLICAS, Stage
from tests.faults.verdict import Invariant
from tests.integration.projector.feeding import Expected, make_trips
from tests.integration.projector.trips import POISON
from tests.integration.projector.watching import check_all, settled, until

PROJECTION = "plane"
SICK = 200  # planes, whose second trip of four lasts thirteen minutes
KILL_WITHIN = 0.4  # s from the first of ten skips: so long they take on a quiet machine
MOST = 1000  # more parked keys than there are


async def mended(stage: Stage, times: int) -> Invariant:
    """Every key has all of its trips but the one that is skipped, each once, whoever was killed while it was folded on."""
    count = max(10, SICK * times // 20)
    trips = [
        {**trip, "plane": f"Y{number % count}"} for number, trip in enumerate(make_trips(4 * count, first=stage.flown))
    ]
    for trip in trips[count : 2 * count]:
        trip["minutes"] = POISON
    await stage.feed.trips(trips)
    stage.expected.count(trips)
    good = Expected()
    good.count(trip for trip in trips if trip["minutes"] != POISON)
    stage.expected.planes |= good.planes
    await until(stage.client, lambda rows: rows[PROJECTION]["parked"] == count)
    parked = (await stage.client.projections.parked(PROJECTION, limit=MOST))["parked"]
    complaints: list[str] = []
    met = 0
    for number in range(times):
        skipping = asyncio.create_task(_skip(stage.client, [row["event"] for row in parked[number::times]]))
        await asyncio.sleep(stage.chance.uniform(0.0, KILL_WITHIN))
        replica = stage.chance.choice(REPLICAS[1:])  # the first one is asked
        met += not skipping.done()
        stage.faults += 1
        await stage.mesh.kill(replica)
        await skipping
        await stage.mesh.restart(replica)
    try:
        await until(stage.client, lambda rows: rows[PROJECTION]["parked"] == 0)
        await settled(stage.client)
        await check_all(stage.client, stage.expected)
    except AssertionError as error:
        complaints.append(str(error)[:500])
    vacuous = "" if met * 2 >= times else f"only {met} of {times} kills came while events were skipped"
    return Invariant("projector.mended", len(parked), times, complaints, vacuous)


async def _skip(client: Client, events: Sequence[str]) -> None:
    """One after the other; the client repeats what was not done."""
    for event in events:
        await client.projections.skip(PROJECTION, event)
