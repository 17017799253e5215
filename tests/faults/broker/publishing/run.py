# SPDX-License-Identifier: Apache-2.0
"""Publishing: publishers that publish once and subscribers, on meshes of two brokers behind Toxiproxy, through kills, lost
replies, requests whose clients go away, subscribers at 1 % of the speed, and a Kafka that is away for a minute.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from rich.console import Console

from nerv.errors import NervError
from nerv.kafka import KafkaSettings
from nerv.topics import Topic
from tests.faults.broker.publishing.checker import RULES, check
from tests.faults.broker.publishing.load import SLOW, SUBSCRIBERS, Load, Subscriber
from tests.faults.broker.publishing.log import final_log
from tests.faults.broker.publishing.operations import Course, End, Seen
from tests.faults.broker.publishing.seeded import SEEDS, Seed, Shown, show
from tests.faults.rig import PARTITIONS, Mesh, MeshSpec, Rig, rig
from tests.faults.verdict import Invariant

FOLDER = Path(".nerv") / "faults"
COMMAND = ("-m", "nerv_broker")
MESHES = tuple(
    MeshSpec(name, "broker", COMMAND, app="bare:app", topics=(Topic(f"faults-{name}.thing.v1", PARTITIONS),))
    for name in ("one", "two")
)
# Faults of all meshes together at SCALE=1.
FAULTS: Mapping[str, int] = {"kill": 100, "terminate": 20, "lose_replies": 40}
CANCELLED = 10_000
AWAY_SECONDS, SHORTEST_AWAY = 60.0, 3.0
OPERATIONS = 300_000
HASTY = 0.15  # of the requests, while clients go away
LEAST_IN_FLIGHT, PROGRESS = 2, 30
UNDISTURBED = (0.2, 1.0)  # s of work before each fault
LOST_SECONDS = 0.3
MOST_UNKNOWN = 0.25  # of the events, some of whose clients go away
SEEN_SECONDS = 120.0  # for subscribers to get what is left


@dataclass(slots=True)
class Ran:
    """One mesh and what was seen of it."""

    mesh: Mesh
    load: Load
    seen: Seen
    subscribers: list[Subscriber]
    faults: Counter[str] = field(default_factory=Counter)
    in_flight: list[int] = field(default_factory=list)

    @property
    def topic(self) -> str:
        """The topic of its load."""
        return self.mesh.spec.topics[0].name

    def note(self, what: str) -> None:
        """A fault that comes now."""
        self.faults[what] += 1
        self.in_flight.append(self.load.in_flight)


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """The whole part; `scale` shrinks the number of faults and operations."""
    async with rig(FOLDER, MESHES) as made:
        console.print(f"logs are in {FOLDER / 'logs'}", highlight=False)
        shown = [await _shown(seed, made.meshes[0].kafka, console) for seed in SEEDS]
        everything, broken_off = await _disturbed(made, scale, console)
        verdicts = [await _verdict(one, console) for one in everything]
    operations = sum(one.seen.count for one in everything)
    alive = Invariant("broker.publishing.alive", operations, 0, [*made.deaths, *broken_off])
    return [_seeded(shown), alive, *_verdicts(everything, verdicts, scale)]


async def _shown(seed: Seed, kafka: KafkaSettings, console: Console) -> Shown:
    found = await show(seed, kafka)
    rules = ", ".join(rule for rule, complaints in found.with_bug.items() if complaints) or "nothing"
    console.print(f"seeded bug {seed.name}: found by {rules}", highlight=False)
    return found


def _seeded(shown: Sequence[Shown]) -> Invariant:
    faults = [fault for one in shown for fault in one.faults]
    return Invariant("broker.publishing.seeded", sum(one.operations for one in shown), len(shown), faults)


async def _disturbed(made: Rig, scale: float, console: Console) -> tuple[list[Ran], list[str]]:
    """All meshes after their faults, and why the faults were broken off: what was seen until then is judged all the same."""
    broken_off: list[str] = []
    everything: list[Ran] = []
    async with asyncio.TaskGroup() as readers:
        running = []
        for number, mesh in enumerate(made.meshes):
            one = _loaded(mesh, number)
            everything.append(one)
            readers.create_task(one.load.run())
            running += [readers.create_task(subscriber.run()) for subscriber in one.subscribers]
        telling = asyncio.create_task(_tell(everything, console))
        try:
            async with asyncio.TaskGroup() as group:
                for number, one in enumerate(everything):
                    group.create_task(_all_faults(one, scale, len(everything), number))
                group.create_task(_hasten(everything, round(CANCELLED * scale)))
            for one in everything:
                one.note("Kafka away")
            await made.kill_kafka(away=max(SHORTEST_AWAY, AWAY_SECONDS * scale))
            await asyncio.gather(*(one.load.progressed(200) for one in everything))
            while sum(len(one.seen.sent) for one in everything) < OPERATIONS * scale / 3:  # noqa: ASYNC110 - plain loops
                await asyncio.sleep(0.5)  # each event that is sent is read by all subscribers
        except* (NervError, TimeoutError) as errors:
            broken_off += [f"the faults were broken off: {error!r}" for error in errors.exceptions]
        telling.cancel()
        await _settled(everything)
        for task in running:
            task.cancel()
    return everything, broken_off


async def _settled(everything: Sequence[Ran]) -> None:
    """Until what lanes have in hand is known, and subscribers have got all there is."""
    for one in everything:
        one.load.stop.set()
        for subscriber in one.subscribers:
            subscriber.hurry()
    for one in everything:
        await one.mesh.ready()
    while any(one.load.running for one in everything):  # noqa: ASYNC110 - the lanes are plain loops
        await asyncio.sleep(0.1)
    for one in everything:
        log = await final_log(one.mesh.kafka, one.topic, PARTITIONS)
        await asyncio.gather(*(subscriber.finished(log, SEEN_SECONDS) for subscriber in one.subscribers))


def _loaded(mesh: Mesh, number: int) -> Ran:
    seen, clients = Seen(), [replica.client for replica in mesh.replicas]
    topic = mesh.spec.topics[0].name
    courses = [Course(f"subscriber {n} of {mesh.spec.name}") for n in range(SUBSCRIBERS)]
    seen.courses += courses
    readers = [
        Subscriber(clients[n % len(clients)], topic, PARTITIONS, course, slow=n < SLOW)
        for n, course in enumerate(courses)
    ]
    return Ran(mesh, Load(clients, topic, seen, number), seen, readers)


async def _all_faults(one: Ran, scale: float, meshes: int, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - when a fault comes must not be regular
    for what, times in FAULTS.items():
        for _ in range(max(1, round(times * scale / meshes))):
            await one.load.progressed(PROGRESS)
            await asyncio.sleep(chance.uniform(*UNDISTURBED))
            await one.load.busy(LEAST_IN_FLIGHT)
            victim = chance.choice(one.mesh.replicas)
            one.note(what)
            if what == "lose_replies":
                await victim.proxy.lose_replies(LOST_SECONDS)
                continue
            await (victim.kill() if what == "kill" else victim.terminate())
            await victim.start()


async def _hasten(everything: Sequence[Ran], cancelled: int) -> None:
    """Clients go away, until so many have."""
    for one in everything:
        one.load.hasty = HASTY
    while sum(one.seen.cancelled for one in everything) < cancelled:  # noqa: ASYNC110 - the lanes are plain loops
        await asyncio.sleep(0.1)
    for one in everything:
        one.load.hasty = 0.0


async def _tell(everything: Sequence[Ran], console: Console) -> None:
    """A line a minute."""
    for minutes in count(1):
        await asyncio.sleep(60.0)
        told = f"{sum(len(one.seen.sent) for one in everything):,} events sent, "
        told += f"{sum(one.faults.total() for one in everything)} faults, "
        told += f"{sum(one.seen.cancelled for one in everything):,} clients gone"
        console.print(f"{minutes} min: {told}", highlight=False)


async def _verdict(one: Ran, console: Console) -> dict[str, list[str]]:
    log = await final_log(one.mesh.kafka, one.topic, PARTITIONS)
    seen = one.seen
    console.print(
        f"{one.mesh.spec.name}: {len(seen.sent):,} events sent, {len(log):,} in the log, "
        f"{sum(sent.duplicate for sent in seen.sent):,} answered as known, {seen.share(End.REFUSED):.2%} not done, "
        f"{seen.share(End.UNKNOWN):.2%} unknown, {seen.cancelled:,} clients gone; {dict(one.faults)}",
        highlight=False,
    )
    return await asyncio.to_thread(check, seen, log)


def _verdicts(
    everything: Sequence[Ran], complaints: Sequence[Mapping[str, list[str]]], scale: float
) -> list[Invariant]:
    operations = sum(one.seen.count for one in everything)
    faults = sum(one.faults.total() for one in everything)
    vacuous = _vacuous(everything, scale)
    return [
        Invariant(
            f"broker.publishing.{rule.__name__}",
            operations,
            faults,
            [complaint for found in complaints for complaint in found[rule.__name__]],
            vacuous,
        )
        for rule in RULES
    ]


def _vacuous(everything: Sequence[Ran], scale: float) -> str:
    """Why the run proves nothing; empty when it does prove something."""
    operations = sum(one.seen.count for one in everything)
    if operations < OPERATIONS * scale:
        return f"only {operations} operations"
    if (gone := sum(one.seen.cancelled for one in everything)) < CANCELLED * scale:
        return f"only {gone} clients went away"
    hit = [count for one in everything for count in one.in_flight]
    idle = sum(1 for count in hit if count < LEAST_IN_FLIGHT)
    if idle * 10 > len(hit):
        return f"{idle} of {len(hit)} faults hit fewer than {LEAST_IN_FLIGHT} events in flight"
    for one in everything:
        if one.seen.share(End.UNKNOWN) > MOST_UNKNOWN:
            return f"{one.seen.share(End.UNKNOWN):.1%} of the outcomes of {one.mesh.spec.name} are unknown"
        if not any(sent.duplicate for sent in one.seen.sent):
            return f"nothing was answered as known on {one.mesh.spec.name}"
    return ""
