# SPDX-License-Identifier: Apache-2.0
"""A group of two brokers under everything at once: members that come and go every three seconds and fail one time in ten, slow
ones, brokers that are killed, Redis that is flushed, a Kafka that is away for a minute, and poison among the records, some of it
in keys that others share.

In the end the lag is 0 and every record is handled or among the dead letters, those of a key in order. Then the poison is
discarded and all that it held up is replayed: after that every other record is handled, in order.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError, Unavailable
from nerv.kafka import KafkaSettings, Outgoing, Position, Producer
from nerv.kafka.admin import Admin
from nerv.kafka.deadletters import Origin
from nerv.redis import RedisSettings, connect
from nerv.subscriptions import Ledger
from nerv.subscriptions.books import load
from nerv.topics import Topic
from tests.faults.broker.groups.checker import Course, Record, check
from tests.faults.broker.groups.members import Members, Tally
from tests.faults.broker.groups.seeded import show
from tests.faults.rig.standing import Standing, standing
from tests.faults.verdict import Invariant

RECORDS, POISON = 100_000, 1_000
PER_KEY = 20
MEMBERS = 8
PARTITIONS = 4
GROUP, TOPIC = "faulty", "faults.group.v1"
SPEC = {
    "topic": TOPIC, "from": "earliest", "max_attempts": 30, "lease_seconds": 3, "first_retry_seconds": 0.1, "window": 500,
}  # fmt: skip
KILLS, FLUSHES = 20, 10
AWAY_SECONDS, SHORTEST_AWAY = 60.0, 5.0
REST = 4.0  # s between two faults
FINISH_SECONDS = 1200.0
CHUNK = 500
LETTERS = 400  # discarded in one request
FEWEST_FAILED = 0.05
BAD = [("ce_id", b"poison"), ("ce_type", b"t")]


@dataclass(slots=True)
class Faults:
    """What was done to it."""

    kills: int = 0
    flushes: int = 0
    away: int = 0


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """The whole part; `scale` shrinks records and faults."""
    tally, faults = Tally(), Faults()
    async with _mesh() as (mesh, kafka, clients):
        shown = await show(mesh.context["redis"])
        course = await _fill(mesh, scale)
        await clients[0].subscriptions.make(GROUP, SPEC)
        async with Members(clients, GROUP, MEMBERS, tally):
            await _disturb(mesh, kafka, scale, faults, console)
            lag = await _settled(clients, console)
            ledger = await load(clients[0].streams, GROUP)
            course.handled = list(tally.handled)
            course.dead = _dead(ledger)
            verdicts = check(course)
            console.print(_spoken(course, tally, faults), highlight=False)
            tally.fails = 0.0
            await _release(clients, course)
        released = _without_poison(course, tally)
    operations, count = len(tally.handled), faults.kills + faults.flushes + faults.away
    why = _vacuous(tally, faults)
    found = [Invariant(f"broker.groups.{name}", operations, count, what, why) for name, what in verdicts.items()]
    return [
        shown,
        *found,
        Invariant("broker.groups.lag", operations, count, [f"lag {lag}"] if lag else [], why),
        Invariant(
            "broker.groups.released", len(course.dead), 1, released, "" if course.dead else "nothing was held up"
        ),
    ]


@asynccontextmanager
async def _mesh() -> AsyncIterator[tuple[LocalMesh, Standing, list[Client]]]:
    folder = Path(".nerv") / f"faults-groups-{uuid.uuid4().hex[:6]}"
    async with AsyncExitStack() as stack:
        kafka, redis = await stack.enter_async_context(standing())
        mesh = LocalMesh(
            services=["temporal", "broker"],
            replicas={"broker": 2},
            folder=folder,
            kafka=kafka.address,
            redis=redis.address,
        )
        await stack.enter_async_context(mesh)
        brokers = (mesh.url("broker"), mesh.url("broker-2"))
        clients = [Client({"temporal": mesh.url("temporal"), "broker": url}) for url in brokers]
        for client in clients:
            await stack.enter_async_context(client)
        yield mesh, kafka, clients


async def _fill(mesh: LocalMesh, scale: float) -> Course:
    """All records, most of them as bare clients write them; half of the poison stands alone, half among good ones of its key."""
    kafka = KafkaSettings(bootstrap_servers=mesh.context["kafka"])
    Admin(kafka, "faults").create([Topic(TOPIC, PARTITIONS)])
    count, every = max(round(RECORDS * scale), 1000), RECORDS // POISON
    keys = count // PER_KEY | 1  # odd, so that no key has all of the poison
    made = [_record(number, keys, poison=number % every == every // 2) for number in range(count)]
    records: dict[Record, str | None] = {}
    poison: set[Record] = set()
    async with Producer(kafka, "faults") as producer:
        for at in range(0, count, CHUNK):
            part = made[at : at + CHUNK]
            for one, place in zip(part, await producer.publish(part), strict=True):
                if not isinstance(place, Position):
                    raise place
                record = (place.partition, place.offset)
                records[record] = None if one.key is None else one.key.decode()
                if one.headers:
                    poison.add(record)
    return Course(records, frozenset(poison))


def _record(number: int, keys: int, *, poison: bool) -> Outgoing:
    alone = poison and number // (RECORDS // POISON) % 2 == 0
    key = f"poison-{number}" if alone else f"k{number % keys}"
    return Outgoing(TOPIC, b'{"n": %d}' % number, key.encode(), BAD if poison else ())


async def _disturb(mesh: LocalMesh, kafka: Standing, scale: float, faults: Faults, console: Console) -> None:
    """Flushes and kills by turns, of one broker and the other; once, in the middle, Kafka is away."""
    kills, flushes = max(round(KILLS * scale), 2), max(round(FLUSHES * scale), 2)
    redis = connect(RedisSettings(url=mesh.context["redis"]), "faults")
    while faults.kills < kills or faults.flushes < flushes:
        await asyncio.sleep(REST)
        if faults.flushes < flushes:
            await redis.flushall()
            faults.flushes += 1
            await asyncio.sleep(REST)
        if faults.kills < kills:
            name = ("broker", "broker-2")[faults.kills % 2]
            await mesh.kill(name)
            faults.kills += 1
            await asyncio.sleep(1.0)
            await mesh.restart(name)
        if faults.kills >= kills // 2 and not faults.away:
            faults.away = 1
            await kafka.kill(away=max(SHORTEST_AWAY, AWAY_SECONDS * scale))
        console.print(f"kills {faults.kills}/{kills}, flushes {faults.flushes}/{flushes}", highlight=False)
    await redis.aclose()


async def _settled(clients: Sequence[Client], console: Console) -> int:
    """The lag in the end: once it is 0, or when time is over."""
    deadline, lag, said = time.monotonic() + FINISH_SECONDS, -1, 0.0
    while lag != 0 and time.monotonic() < deadline:
        try:
            lag = int((await clients[0].subscriptions.show(GROUP))["lag"])
        except NervError as error:
            console.print(f"not now: {error.detail}", markup=False)
        if time.monotonic() - said > 10:
            console.print(f"lag {lag}", highlight=False)
            said = time.monotonic()
        await asyncio.sleep(0.5)
    return lag


def _dead(ledger: Ledger) -> frozenset[Record]:
    return frozenset((origin.partition, origin.offset) for origin in ledger.letters)


async def _release(clients: Sequence[Client], course: Course) -> None:
    """Discard the poison, replay the rest, and wait until nothing is dead any more."""
    client = clients[1]
    ledger = await load(client.streams, GROUP)
    poison = [str(ledger.letters[Origin(TOPIC, *record)].place) for record in sorted(course.poison & course.dead)]
    for at in range(0, len(poison), LETTERS):
        await client.deadletters.discard(GROUP, letters=poison[at : at + LETTERS], why="poison")
    deadline = time.monotonic() + FINISH_SECONDS
    while (await client.subscriptions.show(GROUP))["dead_letters"]:
        if time.monotonic() > deadline:
            raise Unavailable("the dead letters were not all processed in time")
        await client.deadletters.replay(GROUP, all=True)
        await asyncio.sleep(1.0)


def _without_poison(course: Course, tally: Tally) -> list[str]:
    """What is wrong once everything but the poison must be handled."""
    rest = {record: key for record, key in course.records.items() if record not in course.poison}
    found = check(Course(rest, handled=tally.handled))
    return [f"{name}: {what}" for name, whats in found.items() for what in whats]


def _vacuous(tally: Tally, faults: Faults) -> str:
    """Why the run has shown nothing."""
    if faults.kills < 2 or faults.flushes < 2 or not faults.away:
        return "too few faults"
    if tally.gone < MEMBERS or tally.failed < FEWEST_FAILED * len(tally.handled):
        return "too few members went in the middle of their work, or too few handlers failed"
    return ""


def _spoken(course: Course, tally: Tally, faults: Faults) -> str:
    again = len(tally.handled) - len({one.record for one in tally.handled})
    return (
        f"{len(course.records)} records, {len(course.poison)} poison, {len(course.dead)} dead letters; "
        f"handled {len(tally.handled)} times, {again} of them again; {tally.failed} failures, {tally.joined} members, "
        f"{tally.gone} of them gone in mid-work, {tally.lost} verdicts too late, {tally.unreached} requests in vain; "
        f"{faults.kills} kills, {faults.flushes} flushes, Kafka away {faults.away} time"
    )
