# SPDX-License-Identifier: Apache-2.0
"""Publishers whose events do not fit one time in three, to a topic that keeps those, while both brokers are killed in turn.

Then some of the letters are edited and replayed, again and again and under kills, and the rest is discarded.
"""

import asyncio
import json
import random
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import Conflict, NervError
from nerv.kafka import BatchConsumer, KafkaSettings, Received
from nerv.kafka.deadletters import read_letter
from nerv.kafka.survey import Survey
from nerv.types import Event, new_event_id, utc_now
from tests.faults.broker.door.checker import Outcome, Place, Told, check, seeded
from tests.faults.verdict import Invariant

APPS = Path(__file__).parent.parent.parent.parent / "apps"
BROKERS = ("broker", "broker-2")
KILLS, EVENTS, REPAIRS = 30, 30_000, 200
LEAST = 0.1  # of all that, however small the scale
LANES = 8
UNFIT = 0.3
UNDISTURBED = (0.3, 1.2)  # s of work before each kill
PAUSE, AFTER_ERROR = 0.01, 0.2
TOLD_EVERY = 10  # kills
END_SECONDS = 300.0


@dataclass(slots=True)
class Work:
    """What publishers sent, and what they were told."""

    unfit: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    sent: int = 0
    in_flight: int = 0
    kills: int = 0
    hit: int = 0  # kills that met events in flight
    duplicates: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """The whole part; `scale` shrinks kills, events and repairs."""
    share = max(scale, LEAST)
    prefix, work = f"d{uuid.uuid4().hex[:8]}", Work()
    topic = f"{prefix}.claim.v1"
    async with _mesh(prefix) as (mesh, clients):
        await _publish_under_kills(mesh, clients, topic, work, share, console)
        console.print(
            f"door: {work.sent:,} events sent, {len(work.unfit):,} do not fit, {work.duplicates:,} answered as known, "
            f"{work.kills} kills, {work.hit} in flight",
            highlight=False,
        )
        repaired = await _repair_under_kills(mesh, clients, topic, work, share, console)
        left = await _discard_the_rest(clients, f"door:{topic}")
        kafka = KafkaSettings(bootstrap_servers=mesh.context["kafka"])
        events, letters = await _standing(kafka, topic), await _standing(kafka, f"{mesh.mesh}.deadletters.v1")
    found = Outcome(frozenset(work.unfit), work.told, events, letters, repaired, left)
    console.print(f"door: {len(letters):,} letters, {len(repaired)} repaired, {work.kills} kills", highlight=False)
    missed = [f"no {rule}" for rule, broken in seeded(found).items() if not check(broken)[rule]]
    vacuous = _vacuous(work, repaired, share)
    return [
        Invariant("broker.door.seeded", len(work.told), len(seeded(found)), missed),
        *(
            Invariant(f"broker.door.{rule}", work.sent, work.kills, wrong, vacuous)
            for rule, wrong in check(found).items()
        ),
    ]


@asynccontextmanager
async def _mesh(prefix: str) -> AsyncIterator[tuple[LocalMesh, list[Client]]]:
    folder = Path(".nerv") / f"faults-{prefix}"
    mesh = LocalMesh(
        app="ledger:app",
        services=["temporal", "broker"],
        replicas={"broker": 2},
        folder=folder,
        kafka=None,
        redis=None,
        env={"PYTHONPATH": str(APPS), "LEDGER_TOPICS": prefix},
        on_phase=lambda text: None,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(mesh)
        clients = [Client({"temporal": mesh.url("temporal"), "broker": mesh.url(name)}) for name in BROKERS]
        for client in clients:
            await stack.enter_async_context(client)
        yield mesh, clients


async def _publish_under_kills(
    mesh: LocalMesh, clients: Sequence[Client], topic: str, work: Work, share: float, console: Console
) -> None:
    kills, events = round(KILLS * share), round(EVENTS * share)
    async with asyncio.TaskGroup() as group:
        for lane in range(LANES):
            group.create_task(_lane(clients, topic, work, random.Random(lane)))  # noqa: S311 - the same course each time
        while work.kills < kills:
            before = work.sent
            await asyncio.sleep(random.uniform(*UNDISTURBED))  # noqa: S311 - when a kill comes must not be regular
            while work.sent < before + events // (2 * kills):  # noqa: ASYNC110 - the lanes are plain loops
                await asyncio.sleep(0.01)
            while not work.in_flight:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
            await _kill(mesh, work, busy=work.in_flight > 0)
            if work.kills % TOLD_EVERY == 0:
                console.print(f"door: {work.kills} of {kills} kills, {work.sent:,} events sent", highlight=False)
        while work.sent < events:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        work.stop.set()


async def _kill(mesh: LocalMesh, work: Work, *, busy: bool) -> None:
    work.hit += busy
    name = BROKERS[work.kills % 2]
    await mesh.kill(name)
    work.kills += 1
    await mesh.restart(name)


async def _lane(clients: Sequence[Client], topic: str, work: Work, chance: random.Random) -> None:
    while not work.stop.is_set():
        events = [_claim(work, chance) for _ in range(chance.choice([1, 1, 2, 5]))]
        work.in_flight += len(events)
        await _until_known(clients, topic, events, work, chance)
        work.in_flight -= len(events)
        work.sent += len(events)
        await asyncio.sleep(PAUSE)


def _claim(work: Work, chance: random.Random) -> Event[bytes]:
    """A claim of an account of its own, so that each letter has a key of its own."""
    event_id = new_event_id()
    fits = chance.random() >= UNFIT
    if not fits:
        work.unfit.add(event_id)
    data = json.dumps({"account": event_id, "amount": 1 if fits else "much"}).encode()
    return Event(event_id, "faults", "account.claimed.v1", utc_now(), data, subject=event_id)


async def _until_known(
    clients: Sequence[Client], topic: str, events: Sequence[Event[bytes]], work: Work, chance: random.Random
) -> None:
    """The same request to one replica or the other, until each of its events is known to stand."""
    async with asyncio.timeout(END_SECONDS):
        while True:
            try:
                answered = await chance.choice(clients).topics.publish(topic, events, seconds=20.0)
            except NervError:
                await asyncio.sleep(AFTER_ERROR)
                continue
            for one in answered:
                place = (one.partition, one.offset) if one.deadletter is None else _place(one.deadletter)
                work.told.append(Told(one.id, place, one.deadletter is not None))
                work.duplicates += one.duplicate
            return


def _place(text: str) -> Place:
    partition, _, offset = text.partition(":")
    return int(partition), int(offset)


async def _repair_under_kills(
    mesh: LocalMesh, clients: Sequence[Client], topic: str, work: Work, share: float, console: Console
) -> frozenset[str]:
    """The ids of letters that were edited and replayed; as many kills as before come in between."""
    letters = {one.event_id: one.place for one in work.told if one.letter}
    wanted = list(letters.items())[: round(REPAIRS * share)]
    killing = asyncio.create_task(_kill_on(mesh, work, round(KILLS * share)))
    for number, (event_id, place) in enumerate(wanted):
        if number % TOLD_EVERY == 0:
            console.print(f"door: {number} of {len(wanted)} letters repaired, {work.kills} kills", highlight=False)
        await _repair(clients, f"door:{topic}", event_id, "{}:{}".format(*place))
    killing.cancel()
    await asyncio.wait({killing})
    for name in BROKERS:
        await mesh.restart(name)
    return frozenset(event_id for event_id, _ in wanted)


async def _kill_on(mesh: LocalMesh, work: Work, kills: int) -> None:
    for _ in range(kills):
        await asyncio.sleep(random.uniform(*UNDISTURBED))  # noqa: S311 - as above
        await _kill(mesh, work, busy=True)  # repairs follow one another without a pause


async def _repair(clients: Sequence[Client], door: str, event_id: str, letter: str) -> None:
    """Edit it until it has an edition, replay it until nothing of it is dead, and once more."""
    change = {"data": {"account": event_id, "amount": 2}}
    async with asyncio.timeout(END_SECONDS):
        edited = replays = 0
        while not edited or replays < 2:
            client = random.choice(clients)  # noqa: S311 - either
            try:
                if not edited:
                    await client.deadletters.edit(door, letter, change)
                    edited = 1
                elif await client.deadletters.replay(door, key=event_id) == 0:
                    replays += 1
            except Conflict:  # the edit that was not answered is there
                edited = 1
            except NervError:
                await asyncio.sleep(AFTER_ERROR)


async def _discard_the_rest(clients: Sequence[Client], door: str) -> int:
    """How many letters are dead once all were discarded."""
    async with asyncio.timeout(END_SECONDS):
        while await clients[0].deadletters.discard(door, all=True, why="the end of the test"):
            pass
    return int((await clients[1].deadletters.parked(door))["dead"])


async def _standing(kafka: KafkaSettings, topic: str) -> dict[str, list[Place]]:
    """Where each event id stands in a topic, for a reader of committed records; of letters the first editions."""
    survey, found = Survey(kafka, "faults-read"), defaultdict[str, list[Place]](list)
    partitions = [(topic, one.partition) for one in await survey.layout(topic)]
    until = {partition: end for partition, end in (await survey.ends(partitions)).items() if end}
    assign = dict.fromkeys(partitions, 0)
    async with BatchConsumer(kafka, "faults", "faults", assign=assign, reset="earliest", ends=True) as consumer:
        async for batch in consumer.batches_to(until):
            for record in batch:
                if not _is_edition(record):
                    headers = dict(record.headers() or [])
                    found[(headers["ce_id"] or b"").decode()].append((record.partition(), record.offset()))
    return dict(found)


def _is_edition(record: Received) -> bool:
    return record.topic().endswith(".deadletters.v1") and read_letter(record).edited is not None


def _vacuous(work: Work, repaired: frozenset[str], share: float) -> str:
    """Why the run proves nothing; empty when it does prove something."""
    if work.hit * 2 < work.kills:
        return f"only {work.hit} of {work.kills} kills met events in flight"
    if not work.duplicates:
        return "nothing was answered as known"
    if len(repaired) < round(REPAIRS * share):
        return f"only {len(repaired)} letters were repaired"
    return ""
