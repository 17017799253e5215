# SPDX-License-Identifier: Apache-2.0
"""Publishing once: a repeat writes nothing, on any replica, over restarts; and line by line in one request."""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import IdConflict, Invalid, NotFound, SchemaMismatch, TooLarge
from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic
from nerv.types import Event, new_event_id, utc_now
from tests.integration.broker.ends import settled_ends

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
BATCH, NDJSON, STRUCTURED = "application/cloudevents-batch+json", "application/x-ndjson", "application/cloudevents+json"
REPLICAS = ("broker", "broker-2")
PARTITIONS = 4


@pytest.fixture(scope="module")
def topic() -> str:
    """The topic of this module."""
    return f"ledger-{uuid.uuid4().hex[:8]}.account.v1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(
    kafka: str, redis_url: str, topic: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalMesh]:
    """Two brokers, and the temporal that the app's reactions append to."""
    async with LocalMesh(
        app="ledger:app",
        services=["temporal", "broker"],
        replicas={"broker": 2},
        folder=tmp_path_factory.mktemp("once") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "LEDGER_TOPICS": topic.partition(".")[0]},
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(mesh: LocalMesh) -> AsyncIterator[list[Client]]:
    """A client of each replica."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Client({"broker": mesh.url(name)})) for name in REPLICAS]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(mesh: LocalMesh) -> AsyncIterator[aiohttp.ClientSession]:
    """Plain HTTP to the first broker."""
    async with aiohttp.ClientSession(mesh.url("broker")) as session:
        yield session


def deposit(account: str = "a", amount: int = 5, **more: Any) -> Event[bytes]:
    """A deposit."""
    data = json.dumps({"account": account, "amount": amount}).encode()
    return Event(new_event_id(), "test", "account.deposited.v1", utc_now(), data, **more)


def document(event: Event[bytes]) -> dict[str, Any]:
    """As a structured CloudEvent, without a time: it is set at the door."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "data": json.loads(event.data),
    }


async def written(kafka: str, topic: str) -> Counter[str]:
    """How often each event id stands in the topic, for readers of what is committed."""
    found: Counter[str] = Counter()
    start = {(topic, p): 0 for p in range(PARTITIONS)}
    ends = {(topic, p): end for p, end in (await settled_ends(kafka, topic)).items()}
    async with BatchConsumer(KafkaSettings(bootstrap_servers=kafka), "t", "t", assign=start, ends=True) as consumer:
        reached = dict(start)

        async def read() -> None:
            async for batch in consumer.batches():
                for record in batch:
                    found[dict(record.headers() or [])["ce_id"].decode()] += 1
                    reached[record.topic(), record.partition()] = record.offset() + 1

        reading = asyncio.create_task(read())
        async with asyncio.timeout(60):
            while any(max(reached[at], consumer.ended.get(at, 0)) < end for at, end in ends.items()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        reading.cancel()
    return found


async def test_a_repeat_is_answered_as_the_first_by_any_replica(clients: list[Client], kafka: str, topic: str) -> None:
    """Events of many keys are sent to one replica, then to the other: the same places, and one record of each."""
    events = [deposit(f"k{n % 16}", n) for n in range(100)]
    first = await clients[0].topics.publish(topic, events)
    second = await clients[1].topics.publish(topic, events)
    assert not any(one.duplicate for one in first)
    assert all(one.duplicate for one in second)
    assert [(o.id, o.partition, o.offset) for o in first] == [(o.id, o.partition, o.offset) for o in second]
    found = await written(kafka, topic)
    assert [found[event.id] for event in events] == [1] * 100


async def test_other_content_under_a_known_id_is_refused(clients: list[Client], kafka: str, topic: str) -> None:
    """Also in one request with events that are new; those are published, and the answer says which is not."""
    known, new = deposit(), deposit()
    await clients[0].topics.publish(topic, [known])
    forged = Event(known.id, known.source, known.type, known.time, b'{"account":"a","amount":6}')
    with pytest.raises(IdConflict) as caught:
        await clients[1].topics.publish(topic, [forged, new])
    assert [fault.get("error") for fault in caught.value.errors] == ["IdConflict", None]
    found = await written(kafka, topic)
    assert (found[known.id], found[new.id]) == (1, 1)


async def test_a_request_is_known_by_its_key(http: aiohttp.ClientSession, kafka: str, topic: str) -> None:
    """With new event ids under the same Idempotency-Key nothing is written; the second answer names the first places."""
    path, key = f"/v1/topics/{topic}/events", new_event_id()
    answers, ids = [], []
    for _ in range(2):
        documents = [document(deposit("i", n)) for n in range(3)]
        ids.append([one["id"] for one in documents])
        headers = {"content-type": BATCH, "idempotency-key": key}
        async with http.post(path, data=json.dumps(documents).encode(), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            answers.append((await answer.json())["events"])
    assert [o["offset"] for o in answers[0]] == [o["offset"] for o in answers[1]]
    assert all(one["duplicate"] for one in answers[1])
    found = await written(kafka, topic)
    assert [[found[name] for name in names] for names in ids] == [[1] * 3, [0] * 3]


async def test_two_at_the_same_moment_share_one_record(clients: list[Client], kafka: str, topic: str) -> None:
    """Twenty requests with one event, to both replicas at once: one place, and one record."""
    event = deposit("twin")
    answers = await asyncio.gather(*(clients[n % 2].topics.publish(topic, [event]) for n in range(20)))
    assert len({(one.partition, one.offset) for [one] in answers}) == 1
    assert (await written(kafka, topic))[event.id] == 1


async def test_a_plain_publish_looks_at_no_id(clients: list[Client], kafka: str, topic: str) -> None:
    """Asked for at least once, a repeat is written again."""
    event = deposit("plain")
    for _ in range(2):
        await clients[0].topics.publish(topic, [event], once=False)
    assert (await written(kafka, topic))[event.id] == 2


async def test_lines_are_published_as_they_come(http: aiohttp.ClientSession, kafka: str, topic: str) -> None:
    """The answer to the first line is there before the second is sent; bad lines do not keep others from being published."""
    events = [deposit("l", n) for n in range(1200)]
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: list[dict[str, Any]] = []

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps(document(events[0])).encode() + b"\n"
        told.append(await heard.get())
        yield b"{rubbish\n" + json.dumps(document(deposit()) | {"data": {}}).encode() + b"\n"
        yield b"".join(json.dumps(document(event)).encode() + b"\n" for event in events[1:])

    async with asyncio.timeout(60):
        headers = {"content-type": NDJSON}
        async with http.post(f"/v1/topics/{topic}/events", data=body(), headers=headers) as answer:
            assert answer.status == 200
            async for line in answer.content:
                heard.put_nowait(json.loads(line))
    while not heard.empty():
        told.append(heard.get_nowait())
    assert [one["line"] for one in told] == list(range(1, 1203))
    assert [one["id"] for one in told if "offset" in one] == [event.id for event in events]
    assert [one["error"] for one in told[1:3]] == ["Invalid", "SchemaMismatch"]
    found = await written(kafka, topic)
    assert [found[event.id] for event in events] == [1] * 1200


async def foreign_topic(http: aiohttp.ClientSession, kafka: str, **config: str) -> str:
    """A topic that no app declares, once the broker knows it."""
    name = f"foreign-{uuid.uuid4().hex[:8]}.thing.v1"
    topic = Topic(name, PARTITIONS, config=config)
    await asyncio.to_thread(Admin(KafkaSettings(bootstrap_servers=kafka), "t").create, [topic])
    async with asyncio.timeout(60):
        while True:
            async with http.get(f"/v1/topics/{name}") as answer:
                if answer.status == 200:
                    return name
            await asyncio.sleep(0.1)


async def test_data_that_are_no_json_are_published_as_they_are(
    clients: list[Client], http: aiohttp.ClientSession, kafka: str
) -> None:
    """protobuf to a topic that no app declares, binary and in a batch: Kafka has the bytes and their type."""
    topic = await foreign_topic(http, kafka)
    data, kind = bytes(range(256)), "application/protobuf"
    one, other = (Event(new_event_id(), "t", "thing.v1", utc_now(), data, content_type=kind) for _ in range(2))
    headers = {"content-type": kind, "ce-specversion": "1.0", "ce-id": one.id, "ce-source": "t", "ce-type": "thing.v1"}
    async with http.post(f"/v1/topics/{topic}/events", data=data, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    await clients[0].topics.publish(topic, [other])
    start = {(topic, p): 0 for p in range(PARTITIONS)}
    found = []
    async with (
        BatchConsumer(KafkaSettings(bootstrap_servers=kafka), "t", "t", assign=start) as consumer,
        asyncio.timeout(60),
    ):
        async for batch in consumer.batches():
            found += [(r.value(), dict(r.headers() or [])["content-type"]) for r in batch]
            if len(found) == 2:
                break
    assert found == [(data, kind.encode())] * 2


async def test_what_kafka_refuses_keeps_nothing_else_from_being_published(
    clients: list[Client], http: aiohttp.ClientSession, kafka: str
) -> None:
    """An event larger than its topic takes, among good ones of the same key: it alone is refused, the others stand in order."""
    topic = await foreign_topic(http, kafka, **{"max.message.bytes": "3000"})
    noise = json.dumps(random.Random(1).randbytes(8000).hex()).encode()  # noqa: S311 - what no compression makes small

    def thing(data: bytes) -> Event[bytes]:
        return Event(new_event_id(), "t", "thing.v1", utc_now(), data, subject="k")

    events = [thing(b"1"), thing(b"2"), thing(noise), thing(b"3")]
    with pytest.raises(TooLarge) as caught:
        await clients[0].topics.publish(topic, events)
    assert [fault.get("error") for fault in caught.value.errors] == [None, None, "TooLarge", None]
    placed = [fault["offset"] for fault in caught.value.errors if "offset" in fault]
    assert placed == sorted(placed)
    found = await written(kafka, topic)
    assert [found[event.id] for event in events] == [1, 1, 0, 1]


async def test_what_was_published_is_known_after_a_restart(
    mesh: LocalMesh, clients: list[Client], kafka: str, topic: str
) -> None:
    """Both brokers are killed and started again: a repeat is answered as the first, and no event is there twice."""
    events = [deposit(f"r{n}", n) for n in range(40)]
    first = await clients[0].topics.publish(topic, events)
    for name in REPLICAS:
        await mesh.kill(name)
    for name in REPLICAS:
        await mesh.restart(name)
    second = await clients[1].topics.publish(topic, events)
    assert [(o.partition, o.offset) for o in first] == [(o.partition, o.offset) for o in second]
    assert all(one.duplicate for one in second)
    found = await written(kafka, topic)
    assert [found[event.id] for event in events] == [1] * 40


def claim(account: str, amount: object) -> Event[bytes]:
    """A claim, which fits when its amount is a number."""
    data = json.dumps({"account": account, "amount": amount}).encode()
    return Event(new_event_id(), "test", "account.claimed.v1", utc_now(), data, subject=account)


async def test_what_does_not_fit_is_kept_at_the_door(mesh: LocalMesh, kafka: str, topic: str) -> None:
    """Where the topic says so: the others are published, a retry gives one letter on any replica; edited, it is published."""
    claims = topic.replace("account", "claim")
    door, events = f"door:{claims}", [claim(f"k{n}", n if n % 3 else "much") for n in range(30)]
    async with Client({"broker": mesh.url("broker"), "temporal": mesh.url("temporal")}) as one, Client(
        {"broker": mesh.url("broker-2")}
    ) as other:  # fmt: skip
        first, again = await one.topics.publish(claims, events), await other.topics.publish(claims, events)
        assert all(told.duplicate for told in again)
        assert [(t.partition, t.offset, t.deadletter) for t in first] == [
            (t.partition, t.offset, t.deadletter) for t in again
        ]
        assert [told.deadletter is not None for told in first] == [n % 3 == 0 for n in range(30)]
        assert "/amount" in str(first[0].detail)
        rows: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            # Kafka writes the mark that makes them readable after it has answered the commit, and tells nobody.
            while len(rows) < 10:
                rows = (await one.deadletters.list(subscription=door, topic=claims))["letters"]
        assert {row["id"]: row["key"] for row in rows} == {
            t.deadletter: f"k{n}" for n, t in enumerate(first) if t.deadletter
        }
        letter = str(first[3].deadletter)
        with pytest.raises(SchemaMismatch, match="/amount") as caught:
            await one.deadletters.replay(door, letters=[letter])
        assert caught.value.errors[0]["letter"] == letter
        with pytest.raises(Invalid, match="rate"):
            await one.deadletters.replay(door, letters=[letter], rate=1)
        edition = await one.deadletters.edit(door, letter, {"data": {"account": "k3", "amount": 3}})
        assert await other.deadletters.replay(door, letters=[edition]) == 1
        with pytest.raises(NotFound, match="settled"):
            await one.deadletters.replay(door, letters=[edition])
        shown = {name: (await one.deadletters.show(door, name))["state"] for name in (letter, edition)}
        assert shown == {letter: "settled", edition: "settled"}
        assert await one.deadletters.discard(door, key="k6", why="a test") == 1
        assert await one.deadletters.discard(door, all=True, why="a test") == 8
        assert (await one.deadletters.parked(door))["dead"] == 0
        [late] = await one.topics.publish(claims, [claim("k", "more")], once=False)
        assert late.deadletter is not None
        decided = [event.type.split(".")[2] async for event in one.streams.read(f"subscription-{door}")]
    assert decided == ["replayed", "edited", "replayed", "resolved", "discarded", "discarded"]
    assert await written(kafka, claims) == Counter(event.id for n, event in enumerate(events) if n % 3 or n == 3)
