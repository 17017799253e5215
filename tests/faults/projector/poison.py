# SPDX-License-Identifier: Apache-2.0
"""A fold that raises on 1 % of the events: those are in the dead letters with their cause, all others right and in order."""

from nerv.kafka import BatchConsumer, KafkaSettings
from tests.faults.projector.stage import Stage
from tests.faults.verdict import Invariant
from tests.integration.projector.feeding import make_trips
from tests.integration.projector.trips import POISON
from tests.integration.projector.watching import settled, states

EVERY = 100
MENDED = "Y"  # the planes of the part before, whose letters are there, too


async def poisoned(stage: Stage, count: int) -> Invariant:
    """One in a hundred trips is of a plane of its own, and lasts thirteen minutes."""
    trips = make_trips(count, planes=500, first=stage.flown)
    sick = set()
    for number in range(0, count, EVERY):
        trips[number] |= {"plane": f"X{number}", "minutes": POISON}
        sick.add(f"X{number}")
    await stage.feed.trips(trips)
    stage.expected.count(trip for trip in trips if trip["plane"] not in sick)
    await settled(stage.client, ["plane"])
    found = await states(stage.client, "plane")
    right = {k: (s["at"], s["trips"], s["minutes"]) for k, s in found.items() if s is not None and k not in sick}
    complaints = [] if right == stage.expected.planes else ["the other events are not folded right"]
    parked = {view["key"] async for view in stage.client.views.list("plane") if "parked" in view}
    if parked != sick:
        complaints.append(f"{len(parked)} keys are parked, and {len(sick)} are sick")
    letters = await _letters(stage, len(sick))
    if letters != sick:
        complaints.append(f"{len(letters & sick)} of {len(sick)} are in the dead letters")
    return Invariant("projector.poison", count, len(sick), complaints)


async def _letters(stage: Stage, count: int) -> set[str]:
    """The planes whose events the fold of `plane` refused."""
    topic = f"{stage.mesh.mesh}.deadletters.v1"
    start = {(topic, partition): 0 for partition in range(4)}
    settings = KafkaSettings(bootstrap_servers=stage.mesh.context["kafka"])
    found: set[str] = set()
    async with BatchConsumer(settings, "faults", "faults-letters", assign=start, ends=True) as consumer:
        ends = {p: (await consumer.bounds(p))[1] for p in start}
        read = dict.fromkeys(start, 0)
        async for records in consumer.batches():
            for record in records:
                read[record.topic(), record.partition()] = record.offset() + 1
                headers = dict(record.headers() or [])
                if (
                    headers["nerv_deadletter_by"].startswith(b"fold-plane")
                    and b"thirteen" in headers["nerv_deadletter_cause"]
                ):
                    found.add((headers["ce_subject"] or b"").decode().removeprefix("plane-"))
            found = {plane for plane in found if not plane.startswith(MENDED)}
            if len(found) >= count or all(read[p] >= ends[p] for p in ends):
                break
    return found
