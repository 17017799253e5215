# SPDX-License-Identifier: Apache-2.0
"""What the components on Kafka and Redis say of themselves, while they work and after."""

import asyncio
from pathlib import Path

import pytest

from nerv.bus.redis_wire import RedisWire
from nerv.client import Client
from nerv.errors import Misconfigured
from nerv.history.sqlite import SqliteHistory
from nerv.kafka import (
    BatchConsumer,
    FencedWriter,
    KafkaSettings,
    Membership,
    Outgoing,
    Producer,
    TransactionalProducer,
)
from nerv.kafka.admin import Admin
from nerv.redis import RedisSettings, Scripts, connect
from nerv.topics import Topic
from nerv.types import Event, Health, new_event_id, utc_now

SECONDS = 30.0


@pytest.fixture
def settings(kafka: str, mesh_name: str) -> KafkaSettings:
    """With a topic of one partition that is named like the mesh."""
    found = KafkaSettings(bootstrap_servers=kafka)
    Admin(found, mesh_name).create([Topic(mesh_name, 1)])
    return found


async def test_producer_and_consumer_count(settings: KafkaSettings, mesh_name: str) -> None:
    """What waits is nothing once all is published; the consumer counts what it handed over, and is down when it has left."""
    async with Producer(settings, mesh_name) as producer:
        await producer.publish([Outgoing(mesh_name, b"%d" % n) for n in range(10)])
        assert producer.describe().counters["waiting"] == 0
    async with (
        BatchConsumer(settings, mesh_name, mesh_name, assign={(mesh_name, 0): 0}) as consumer,
        asyncio.timeout(SECONDS),
    ):
        read = 0
        async for batch in consumer.batches():
            read += len(batch)
            if read == 10:
                break
        told = consumer.describe()
        assert (told.inputs, told.counters["records"], told.health) == ((mesh_name,), 10, Health.OK)
    assert consumer.describe().health is Health.DOWN


async def test_a_fenced_writer_says_what_it_owns(settings: KafkaSettings, mesh_name: str) -> None:
    """Down before it has taken over and after it was closed; fences count as commits."""
    writer = FencedWriter(settings, mesh_name, 0, mesh_name)
    assert writer.describe().health is Health.DOWN
    await writer.take_over(lambda token, name: Outgoing(mesh_name, token.encode(), name.encode(), partition=0))
    await writer.commit([Outgoing(mesh_name, b"1", partition=0), Outgoing(mesh_name, b"2", partition=0)])
    told = writer.describe()
    assert told.health is Health.OK
    assert told.counters == {"take_overs": 1, "commits": 3, "records": 4}
    await writer.close()
    assert writer.describe().health is Health.DOWN


async def test_a_transactional_producer_says_when_it_is_void(settings: KafkaSettings, mesh_name: str) -> None:
    """It counts transactions; shut out by another of its id, it is down."""
    producer = TransactionalProducer(settings, mesh_name, mesh_name)
    await producer.start()
    await producer.commit([Outgoing(mesh_name, b"1")], {})
    assert producer.describe().counters == {"commits": 1, "records": 1}
    other = TransactionalProducer(settings, mesh_name, mesh_name)
    await other.start()
    with pytest.raises(Exception, match="did not surely commit"):
        await producer.commit([Outgoing(mesh_name, b"2")], {})
    assert producer.describe().health is Health.DOWN
    assert other.describe().health is Health.OK
    for one in (producer, other):
        await one.close()


async def test_a_member_says_what_it_was_given(settings: KafkaSettings, mesh_name: str) -> None:
    """The partitions that the group has given it, and that it is down once it has left."""
    given = asyncio.Event()

    async def gained(partitions: set[int]) -> None:
        if partitions:
            given.set()

    async def lost(partitions: set[int]) -> None:
        return

    member = Membership(settings, mesh_name, f"{mesh_name}.g", mesh_name, 1, gained=gained, lost=lost)
    async with member:
        await asyncio.wait_for(given.wait(), SECONDS)
        assert (member.describe().outputs, member.describe().health) == ((f"{mesh_name}/0",), Health.OK)
    assert member.describe().health is Health.DOWN


async def test_scripts_and_a_wire_on_redis_count(redis_url: str, mesh_name: str) -> None:
    """Each script by its name, and what went over the wire."""
    redis = connect(RedisSettings(url=redis_url), "test")
    wire = RedisWire(redis, f"{mesh_name}:wire", reader="one")
    await wire.put([Event(new_event_id(), "test", "thing.noted.v1", utc_now(), b"1") for _ in range(3)])
    assert wire.describe().counters == {"put": 3}
    scripts = Scripts(redis, "nerv.bus")
    await scripts("put", [f"{mesh_name}:other"], [10, b"1"])
    assert scripts.describe().counters == {"put": 1}
    assert {"put", "done", "refuse", "renew"} <= set(scripts.describe().inputs)
    await redis.unlink(f"{mesh_name}:wire", f"{mesh_name}:other")
    await redis.aclose()


async def test_what_is_not_open_is_down(tmp_path: Path) -> None:
    """A client without a session, and a history whose file is not open."""
    client = Client({"temporal": "http://127.0.0.1:9"})
    assert client.describe().health is Health.DOWN
    async with client:
        assert client.describe().health is Health.OK
        with pytest.raises(Misconfigured):
            await client.about("nobody")
        assert client.describe().counters["requests"] == 1
    history = SqliteHistory(tmp_path / "history.db")
    assert history.describe().health is Health.DOWN
    async with history:
        assert history.describe().health is Health.OK
