# SPDX-License-Identifier: Apache-2.0
"""Reactions: events a second through the reactions of a broker that finds its topics full, until its group has no lag.

Beside it, for what is published, a bare loop: consume, produce, offsets in the transaction, 2,000 records each.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console

from bench.broker.reacting import APPENDED, BATCHED, PUBLISHED
from bench.harness import Contestant, Figure, Measured
from nerv.cloudevents import to_headers
from nerv.dev.mesh import LocalMesh
from nerv.errors import UnknownOutcome
from nerv.kafka import KafkaSettings, Outgoing, Producer
from nerv.kafka.survey import Survey
from nerv.types import Event, new_event_id, utc_now

HERE = Path(__file__).parent.parent.parent
EVENTS = 200_000
KEYS = 100
AT_ONCE = 2000
WAIT_SECONDS = 300.0
TYPES = {PUBLISHED: "bench.told.v1", BATCHED: "bench.batched.v1", APPENDED: "bench.kept.v1"}


def run(scale: float, console: Console) -> Sequence[Figure | Measured]:
    """One figure for each way; a goal only where there is a peer."""
    return asyncio.run(_run(max(20_000, int(EVENTS * scale)), console))


async def _run(count: int, console: Console) -> Sequence[Figure | Measured]:
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name:
        mesh = LocalMesh(
            app="bench.broker.reacting:app",
            services=["temporal", "broker"],
            folder=Path(name) / ".nerv",
            mode="bench",
            kafka=None,
            redis=None,
            env={"PYTHONPATH": str(HERE)},
            on_phase=lambda text: None,
        )
        async with mesh:
            found = {topic: await _through(mesh, topic, count, console) for topic in TYPES}
            bare = _bare(mesh, count)
    console.print(f"a bare loop: {bare:,.0f} events/s", highlight=False)
    return [
        Figure("reactions.published_per_second", found[PUBLISHED], bare, goal=0.1),
        Figure("reactions.published_in_batches_per_second", found[BATCHED], bare, goal=0.1),
        Measured("reactions.appended_per_second", found[APPENDED], "events/s"),
    ]


async def _through(mesh: LocalMesh, topic: str, count: int, console: Console) -> float:
    """Fill a topic while no broker runs, then see how fast it is worked off: from the first commit to the last."""
    kafka = KafkaSettings(bootstrap_servers=mesh.context["kafka"])
    await mesh.kill("broker")
    await fill(kafka, topic, count)
    watch = _Watch(Survey(kafka, "bench"), f"{mesh.mesh}.broker", topic)
    restarting = asyncio.create_task(mesh.restart("broker"))
    first = await watch.until(lambda left: left < count)
    began = time.perf_counter()
    await watch.until(lambda left: left <= 0)
    rate = first / (time.perf_counter() - began)
    await restarting
    console.print(f"{topic}: {rate:,.0f} events/s", highlight=False)
    return rate


class _Watch:
    """How many events of a topic are left."""

    def __init__(self, survey: Survey, group: str, topic: str) -> None:
        self._survey, self._group, self._topic = survey, group, topic

    async def until(self, enough: Callable[[int], bool]) -> int:
        """Those that are left when the condition holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            ends = await self._survey.ends([(self._topic, number) for number in range(4)])
            committed = await self._survey.committed(self._group)
            left = sum(end - committed.get(partition, 0) for partition, end in ends.items())
            if enough(left):
                return left
            await asyncio.sleep(0.01)
        raise UnknownOutcome(f"the reactions to {self._topic} were not done within {WAIT_SECONDS:g} s")


async def fill(kafka: KafkaSettings, topic: str, count: int) -> None:
    """So many events of the topic's type, over a hundred keys."""
    now, text = utc_now(), "x" * 100
    async with Producer(kafka, "bench") as producer:
        for start in range(0, count, AT_ONCE):
            await producer.publish_all(
                [_record(topic, number, now, text) for number in range(start, min(start + AT_ONCE, count))]
            )


def _record(topic: str, number: int, now: datetime, text: str) -> Outgoing:
    key = f"k{number % KEYS}"
    data = json.dumps({"key": key, "number": number, "text": text}).encode()
    event: Event[bytes] = Event(new_event_id(), "bench", TYPES[topic], now, data)
    return Outgoing(topic, data, key.encode(), to_headers(event))


def _bare(mesh: LocalMesh, count: int) -> float:
    told = [mesh.context["kafka"], PUBLISHED, str(count)]
    command = [sys.executable, "-m", "bench.broker.peers.react_bare", *told]
    return Contestant("bare loop", command).turn()
