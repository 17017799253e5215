# SPDX-License-Identifier: Apache-2.0
"""Reactions that append and publish while both brokers are killed in turn, fail one time in ten, and meet 1 % of poison.

In the end people see to the dead letters: poison is discarded, and what stood behind it released. Then each effect is
there once, in the order of its key, for a reader of committed records, and nothing waits.
"""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from nerv.client import Client
from nerv.cloudevents import to_headers
from nerv.dev.mesh import LocalMesh
from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, Producer
from nerv.kafka.survey import Survey
from nerv.protocols import ReadQuery
from nerv.subscriptions import Books, State
from nerv.subscriptions.deciding import discard, release, replay
from nerv.types import Event
from tests.faults.broker.reacting.checker import Outcome, check
from tests.faults.verdict import Invariant

APPS = Path(__file__).parent.parent.parent.parent / "apps"
FOLDER = Path(".nerv") / "faults-reactions"
REACTION = "confirm"
BROKERS = ("broker", "broker-2")
KILLS, EVENTS, CUSTOMERS = 50, 50_000, 500
POISON = 0.01
SHARE_SECONDS, PIECES = 1.0, 10  # how long the events take that belong to one kill, and in how many pieces they come
TOLD_EVERY = 10  # kills
END_SECONDS = 300.0
SETTLE_SECONDS = 3.0  # in which a broker does what it should have done before it said that it was done
START = datetime(2013, 1, 15, tzinfo=UTC)
SEEDS = {"hasty_shop:app": "lost append", "forgetful_shop:app": "double append"}
"""Apps that put a bug into the broker that hosts them, and the rule that must find it."""


@dataclass(slots=True)
class Ran:
    """One run: what was published, what came of it, and what was done to the brokers."""

    wanted: Mapping[str, Sequence[int]]
    events: int
    kills: int = 0
    in_flight: int = 0  # kills while events were coming
    outcome: Outcome = field(default_factory=Outcome)


async def run(scale: float, console: Console) -> Sequence[Invariant]:
    """First the checker is shown to find bugs, then the broker as it is is disturbed."""
    missed, seeded = [], 0
    for app, rule in SEEDS.items():
        ran = await _ran(app, 2000, 6, 0.0, console)
        seeded += ran.events
        if not check(ran.wanted, ran.outcome)[rule]:
            missed.append(f"{app} was not found: no {rule}")
    ran = await _ran("shop:app", max(2000, round(EVENTS * scale)), max(4, round(KILLS * scale)), 0.1, console)
    vacuous = "" if ran.in_flight * 2 > ran.kills else f"only {ran.in_flight} of {ran.kills} kills met events in flight"
    found = check(ran.wanted, ran.outcome)
    return [
        Invariant("reactions.seeded", seeded, len(SEEDS), missed),
        *(
            Invariant(f"reactions.{rule.replace(' ', '_')}", ran.events, ran.kills, found[rule], vacuous)
            for rule in found
        ),
    ]


async def _ran(app: str, events: int, kills: int, fails: float, console: Console) -> Ran:
    prefix = f"f{uuid.uuid4().hex[:8]}"
    async with _mesh(app, prefix, fails) as (mesh, kafka, client):
        work = _orders(events, poison=POISON if fails else 0.0)
        ran = Ran({c: [n for n in numbers if n >= 0] for c, numbers in work.items()}, events)
        watch = _Watch(mesh, kafka, f"{prefix}.order.v1")
        await _disturb(mesh, kafka, f"{prefix}.order.v1", work, ran, kills, console)
        await watch.until_read()
        await asyncio.sleep(SETTLE_SECONDS)
        left = await _see_to_letters(client) if fails else 0
        ran.outcome = Outcome(
            {c: await _appended(client, c) for c in work},
            await _published(kafka, f"{prefix}.confirmed.v1"),
            await watch.lag(),
            left,
        )
        console.print(f"reactions of {app}: {events:,} events, {ran.kills} kills, {ran.in_flight} of them in flight")
    return ran


@asynccontextmanager
async def _mesh(app: str, prefix: str, fails: float) -> AsyncIterator[tuple[LocalMesh, KafkaSettings, Client]]:
    env = {
        "PYTHONPATH": str(APPS),
        "SHOP_TOPICS": prefix,
        "SHOP_FAILS": str(fails),
        "SHOP_FOLDER": str(FOLDER.absolute()),
    }
    mesh = LocalMesh(
        app=app,
        services=["temporal", "broker"],
        replicas={"broker": 2},
        folder=FOLDER,
        env=env,
        on_phase=lambda text: None,
    )
    async with mesh, Client({name: mesh.url(name) for name in ("temporal", "broker")}) as client:
        yield mesh, KafkaSettings(bootstrap_servers=mesh.context["kafka"]), client


def _orders(events: int, poison: float) -> dict[str, list[int]]:
    """Numbers for each customer, rising; a negative one is poison."""
    chance = random.Random(7)  # noqa: S311 - the same run again
    work: dict[str, list[int]] = {}
    for number in range(events):
        bad = chance.random() < poison
        work.setdefault(f"c{number % CUSTOMERS}", []).append(-number - 1 if bad else number)
    return work


async def _disturb(
    mesh: LocalMesh,
    kafka: KafkaSettings,
    topic: str,
    work: Mapping[str, Sequence[int]],
    ran: Ran,
    kills: int,
    console: Console,
) -> None:
    """Publish in turns of all customers, a share for each kill; a broker is killed while its share is under way."""
    chance = random.Random(11)  # noqa: S311 - the same run again
    rows = max(map(len, work.values()))
    records = [
        _record(topic, c, numbers[row]) for row in range(rows) for c, numbers in work.items() if row < len(numbers)
    ]
    share = -(-len(records) // kills)
    async with Producer(kafka, "faults") as producer:
        for number in range(kills):
            publishing = asyncio.create_task(_publish(producer, records[number * share : (number + 1) * share]))
            await asyncio.sleep(chance.uniform(0.1, SHARE_SECONDS))
            ran.in_flight += not publishing.done()
            await mesh.kill(BROKERS[number % 2])
            ran.kills += 1
            await mesh.restart(BROKERS[number % 2])
            await publishing
            if ran.kills % TOLD_EVERY == 0:
                console.print(f"reactions: {ran.kills} of {kills} kills", highlight=False)


async def _publish(producer: Producer, records: Sequence[Outgoing]) -> None:
    size = max(1, len(records) // PIECES)
    for start in range(0, len(records), size):
        await producer.publish_all(records[start : start + size])
        await asyncio.sleep(SHARE_SECONDS / PIECES)


def _record(topic: str, customer: str, number: int) -> Outgoing:
    data = json.dumps({"customer": customer, "number": number}).encode()
    event = Event(f"{customer}/{number}", "faults", "shop.ordered.v1", START, data)
    return Outgoing(topic, data, customer.encode(), to_headers(event))


class _Watch:
    """How far the reactions have come."""

    def __init__(self, mesh: LocalMesh, kafka: KafkaSettings, topic: str) -> None:
        self._group, self._topic = f"{mesh.mesh}.broker", topic
        self._survey = Survey(kafka, "faults")

    async def lag(self) -> int:
        """Events that no transaction has covered."""
        partitions = [(self._topic, one.partition) for one in await self._survey.layout(self._topic)]
        ends, committed = await self._survey.ends(partitions), await self._survey.committed(self._group)
        return sum(end - committed.get(partition, 0) for partition, end in ends.items())

    async def until_read(self) -> None:
        """Wait, but not for ever: what does not come to its end is a violation."""
        async with asyncio.timeout(END_SECONDS):
            while await self.lag():  # noqa: ASYNC110 - other processes bring it about
                await asyncio.sleep(0.2)


async def _see_to_letters(client: Client) -> int:
    """Discard poison, try the others again, until none are left, or time is up; how many are left."""
    async with Books(client.streams, REACTION) as books:
        try:
            async with asyncio.timeout(END_SECONDS):
                while letters := list(books.ledger.letters.values()):
                    if any(one.state is State.REPLAYING for one in letters):
                        await asyncio.sleep(0.1)
                        continue
                    poison = [one.origin for one in letters if "is no number" in one.cause]
                    if poison:
                        await books.decide(lambda ledger, bad=poison: discard(ledger, bad, "faults", "poison"))  # type: ignore[misc]
                        continue
                    for key in sorted({one.key for one in letters if one.key is not None}):
                        await books.decide(lambda ledger, key=key: release(ledger, key, "faults"))  # type: ignore[misc]
                    bare = [one.origin for one in letters if one.key is None]
                    if bare:
                        await books.decide(lambda ledger, bare=bare: replay(ledger, bare, "faults"))  # type: ignore[misc]
        except TimeoutError:
            pass
        return len(books.ledger.letters)


async def _appended(client: Client, customer: str) -> list[int]:
    query = ReadQuery()
    return [json.loads(e.data)["number"] async for e in client.streams.read(f"customer-{customer}", query)]


async def _published(kafka: KafkaSettings, topic: str) -> dict[str, Counter[int]]:
    survey = Survey(kafka, "faults-read")
    partitions = [(topic, one.partition) for one in await survey.layout(topic)]
    ends = await survey.ends(partitions)
    found: dict[str, Counter[int]] = {}
    assign = dict.fromkeys(partitions, 0)
    async with BatchConsumer(kafka, "faults", "faults", assign=assign, reset="earliest", ends=True) as consumer:
        async for batch in consumer.batches_to({partition: end for partition, end in ends.items() if end}):
            for record in batch:
                data = json.loads(record.value() or b"{}")
                found.setdefault(data["customer"], Counter())[data["number"]] += 1
    return found
