# SPDX-License-Identifier: Apache-2.0
"""Publishers that never wait flood one of two brokers while Kafka is away: each is told at once to come again, and memory stays
bounded. When Kafka is back, so is publishing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
from rich.console import Console

from nerv.errors import NervError
from nerv.topics import Topic
from nerv.types import Event, new_event_id, utc_now
from tests.faults.rig import PARTITIONS, MeshSpec, Replica, rig
from tests.faults.verdict import Invariant

FOLDER = Path(".nerv") / "faults"
TOPIC = "faults-flood.thing.v1"
MESH = MeshSpec("flood", "broker", ("-m", "nerv_broker"), app="bare:app", topics=(Topic(TOPIC, PARTITIONS),))
FLOODERS = 400
EVENTS, EVENT_BYTES = 250, 3000  # of a request: three quarters of what one may have
AWAY_SECONDS, SHORTEST_AWAY = 60.0, 25.0
LOOK_SECONDS = 0.1
MOST_MIB = 768.0
AGAIN_SECONDS = 60.0  # from Kafka's return to an event that is published
COME_AGAIN = (429, 503)
HONEST = (200, *COME_AGAIN, 504)
FEWEST_TOLD = 100  # of them, that were told to come again
BODY_KIND = {"content-type": "application/cloudevents-batch+json"}


@dataclass(slots=True)
class Flood:
    """What the publishers were told, and the most memory that was seen, MiB."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    most: float = 0.0
    sent: int = 0


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """The whole part; `scale` shrinks how long Kafka is away."""
    flood = Flood()
    async with rig(FOLDER, (MESH,)) as made:
        [mesh] = made.meshes
        flooded = mesh.replicas[0]
        tasks = [asyncio.create_task(_flood(flooded.service.plan.url, flood, once=n % 2 == 0)) for n in range(FLOODERS)]
        tasks.append(asyncio.create_task(_watch(flooded, flood)))
        await made.kill_kafka(away=max(SHORTEST_AWAY, AWAY_SECONDS * scale))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        seconds = await _until_published(flooded)
    console.print(f"flood: {flood.sent:,} requests, told {dict(flood.statuses)}, {flood.most:.0f} MiB", highlight=False)
    console.print(f"flood: published again {seconds:.1f} s after Kafka had come back", highlight=False)
    told = sum(flood.statuses[status] for status in COME_AGAIN)
    vacuous = "" if told >= FEWEST_TOLD else f"only {told} were told to come again"
    memory = [f"{flood.most:.0f} MiB"] if flood.most > MOST_MIB else []
    return [
        Invariant("broker.pressure.alive", flood.sent, 1, made.deaths),
        Invariant("broker.pressure.answers", flood.sent, 1, flood.wrong, vacuous),
        Invariant("broker.pressure.memory", flood.sent, 1, memory, vacuous),
        Invariant("broker.pressure.again", 1, 1, [] if seconds < AGAIN_SECONDS else [f"not within {seconds:.0f} s"]),
    ]


async def _flood(url: str, flood: Flood, *, once: bool) -> None:
    """One request after the other, without a pause, whatever is answered."""
    path = f"/v1/topics/{TOPIC}/events" + ("" if once else "?guarantee=at-least-once")
    async with aiohttp.ClientSession(url) as session:
        while True:
            flood.sent += 1
            try:
                async with session.post(path, data=_body(), headers=BODY_KIND) as answer:
                    _note(flood, answer.status, answer.headers.get("retry-after"), await answer.text())
            except aiohttp.ClientError as error:
                flood.wrong.append(f"no answer: {error!r}")
                await asyncio.sleep(LOOK_SECONDS)


def _body() -> bytes:
    mark = new_event_id()
    event = f'{{"specversion":"1.0","id":"{mark}-%d","source":"flood","type":"thing.counted.v1","data":"{"x" * EVENT_BYTES}"}}'
    return f"[{','.join(event % number for number in range(EVENTS))}]".encode()


def _note(flood: Flood, status: int, retry_after: str | None, text: str) -> None:
    flood.statuses[status] += 1
    if status not in HONEST:
        flood.wrong.append(f"{status}: {text[:200]}")
    elif status in COME_AGAIN and retry_after is None:
        flood.wrong.append(f"{status} without Retry-After: {text[:200]}")


async def _watch(replica: Replica, flood: Flood) -> None:
    """The most resident memory of its process."""
    assert replica.service.process is not None
    process = psutil.Process(replica.service.process.pid)
    while True:
        flood.most = max(flood.most, process.memory_info().rss / 2**20)
        await asyncio.sleep(LOOK_SECONDS)


async def _until_published(replica: Replica) -> float:
    """Seconds until an event is published, once and plainly, or until time is up."""
    began = time.monotonic()
    for once in (True, False):
        while (seconds := time.monotonic() - began) < AGAIN_SECONDS:
            event = Event(new_event_id(), "flood", "thing.counted.v1", utc_now(), b"1")
            try:
                await replica.client.topics.publish(TOPIC, [event], once=once, seconds=5.0)
            except NervError:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                break
    return seconds
