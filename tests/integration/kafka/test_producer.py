# SPDX-License-Identifier: Apache-2.0
"""The producer on a real Kafka: three ways to wait for it, and what they say of records that did not get there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import nerv.kafka.producer
from nerv.errors import Overloaded, TooLarge, Unavailable
from nerv.kafka import BatchConsumer, Bounds, KafkaSettings, Outgoing, Position, Producer, Received
from nerv.kafka.admin import Admin
from nerv.topics import Topic
from tests.integration.kafka.settling import settled

PARTITIONS = 3
MUCH = b"x" * 2_000_000  # more than Kafka takes


@pytest.fixture
def settings(kafka: str, mesh_name: str) -> KafkaSettings:
    """With a topic that is named like the mesh."""
    found = KafkaSettings(bootstrap_servers=kafka)
    Admin(found, mesh_name).create([Topic(mesh_name, PARTITIONS)])
    return found


@pytest.fixture
async def producer(settings: KafkaSettings, mesh_name: str) -> AsyncIterator[Producer]:
    """One with room for 1,000 records."""
    async with Producer(settings, mesh_name, bounds=Bounds(1000)) as made:
        yield made


def records(topic: str, count: int) -> list[Outgoing]:
    """Records with a key, a header and a value that all name their number."""
    return [Outgoing(topic, b"%d" % n, b"k%d" % (n % 7), [("ce_id", b"%d" % n)]) for n in range(count)]


async def written(settings: KafkaSettings, topic: str, count: int) -> dict[Position, Received]:
    """The first so many records of a topic, by where they stand."""
    found: dict[Position, Received] = {}
    everywhere = {(topic, partition): 0 for partition in range(PARTITIONS)}
    async with BatchConsumer(settings, topic, f"{topic}.look", assign=everywhere) as consumer, asyncio.timeout(20):
        async for batch in consumer.batches():
            found |= {Position(r.topic(), r.partition(), r.offset()): r for r in batch}
            if len(found) >= count:
                return found
    raise AssertionError("a consumer does not end by itself")


async def test_each_record_stands_where_publish_says(
    producer: Producer, settings: KafkaSettings, mesh_name: str
) -> None:
    """With its value and its headers, and in the order of the records where they have one key."""
    sent = records(mesh_name, 500)
    places = await producer.publish(sent)
    found = await written(settings, mesh_name, 500)
    for record, place in zip(sent, places, strict=True):
        assert isinstance(place, Position)
        assert (found[place].value(), found[place].headers()) == (record.value, record.headers)
    for key in {record.key for record in sent}:
        mine = [place for record, place in zip(sent, places, strict=True) if record.key == key]
        assert mine == sorted(mine, key=lambda place: place.offset)  # type: ignore[union-attr]


async def test_all_records_are_there_when_publish_all_returns(
    producer: Producer, settings: KafkaSettings, mesh_name: str
) -> None:
    """At that moment, also when calls overlap."""
    sent = records(mesh_name, 900)
    nowhere = {(mesh_name, 0): 0}
    async with BatchConsumer(settings, mesh_name, f"{mesh_name}.look", assign=nowhere) as consumer:
        await consumer.bounds((mesh_name, 0))
        await asyncio.gather(*(producer.publish_all(sent[start : start + 90]) for start in range(0, 900, 90)))
        ends = [(await consumer.bounds((mesh_name, partition)))[1] for partition in range(PARTITIONS)]
    assert sum(ends) == 900


async def test_the_future_of_a_record_has_its_place(
    producer: Producer, settings: KafkaSettings, mesh_name: str
) -> None:
    """One future for each."""
    sent = records(mesh_name, 50)
    places = await asyncio.gather(*(producer.send(record) for record in sent))
    found = await written(settings, mesh_name, 50)
    assert [found[place].value() for place in places] == [record.value for record in sent]


async def test_one_record_that_is_refused_is_told_of_and_harms_no_other(producer: Producer, mesh_name: str) -> None:
    """At its place by publish, with the number by publish_all, and by its own future."""
    sent = [*records(mesh_name, 3), Outgoing(mesh_name, MUCH)]
    *good, refused = await producer.publish(sent)
    assert all(isinstance(place, Position) for place in good)
    assert isinstance(refused, TooLarge)
    with pytest.raises(TooLarge, match="1 of 4 records failed, the others are written"):
        await producer.publish_all(sent)
    good_future, bad_future = producer.send(sent[0]), producer.send(sent[3])
    with pytest.raises(TooLarge):
        await bad_future
    assert isinstance(await good_future, Position)


async def test_a_failure_that_is_reported_later_is_told_of_too(producer: Producer, mesh_name: str) -> None:
    """Nobody knows before Kafka's list of partitions has come that this one does not exist."""
    lost = Outgoing(mesh_name, b"x", partition=PARTITIONS + 5)
    [place] = await producer.publish([lost])
    assert not isinstance(place, Position)
    with pytest.raises(type(place), match="1 of 2 records failed"):
        await producer.publish_all([Outgoing(mesh_name, b"y"), lost])
    with pytest.raises(type(place)):
        await producer.send(lost)


async def test_what_finds_no_room_is_not_sent(producer: Producer, settings: KafkaSettings, mesh_name: str) -> None:
    """None of the call's records; a full producer has room again when it has been answered."""
    for refused in (producer.publish_all(records(mesh_name, 1001)), producer.publish(records(mesh_name, 1001))):
        with pytest.raises(Overloaded, match="0 records wait for Kafka; the limit is 1000"):
            await refused
    for _ in range(2):
        await producer.publish_all(records(mesh_name, 1000))
    assert len(await written(settings, mesh_name, 2000)) == 2000


async def test_bytes_that_wait_are_bounded(settings: KafkaSettings, mesh_name: str) -> None:
    """A call that comes when more wait than may is refused, whichever it is; once they are answered there is room again, also
    where nobody waited for the answer any more.
    """
    async with Producer(settings, "test", bounds=Bounds(size=1000)) as small:
        big = [Outgoing(mesh_name, b"x" * 2000)]
        calls: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(small.publish(big)),
            asyncio.ensure_future(small.publish_all(big)),
        ]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2000 bytes wait for Kafka; the limit is 1000"):
            small.send(big[0])
        assert isinstance(calls[1].exception(), Overloaded)
        calls[0].cancel()
        async with asyncio.timeout(30):
            while small.describe().counters["bytes"]:  # noqa: ASYNC110 - Kafka's answers bring it about
                await asyncio.sleep(0.01)
        await small.publish_all(big)
        await small.send(big[0])


async def test_a_cancelled_call_leaves_its_records_on_their_way(
    producer: Producer, settings: KafkaSettings, mesh_name: str
) -> None:
    """And takes no room for ever."""
    sent = records(mesh_name, 300)
    calls: list[asyncio.Future[Any]] = [
        asyncio.create_task(producer.publish(sent[:100])),
        asyncio.create_task(producer.publish_all(sent[100:200])),
        *(producer.send(record) for record in sent[200:]),
    ]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*calls, return_exceptions=True))
    found = await written(settings, mesh_name, 300)
    assert len(found) == 300
    async with asyncio.timeout(20):
        while producer.waiting:  # noqa: ASYNC110 - a condition, under a deadline
            await asyncio.sleep(0)


async def test_nothing_is_acknowledged_while_kafka_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither calls nor futures end."""
    monkeypatch.setattr(nerv.kafka.producer, "DRAIN_SECONDS", 0.1)
    async with Producer(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "silent") as producer:
        record = Outgoing("nowhere", b"x")
        calls: list[asyncio.Future[Any]] = [
            asyncio.create_task(producer.publish([record])),
            asyncio.create_task(producer.publish_all([record])),
            producer.send(record),
        ]
        done, _ = await asyncio.wait(calls, timeout=0.5)
        assert not done
        for call in calls:
            call.cancel()


async def test_a_producer_that_is_left_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what Kafka has never answered: whoever waits for it is told, and no thread stays, though it is still referred to."""
    monkeypatch.setattr(nerv.kafka.producer, "DRAIN_SECONDS", 0.1)
    await asyncio.to_thread(int)  # the loop's own threads stay
    threads = await settled(0)
    record = Outgoing("nowhere", b"x")
    async with Producer(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "silent") as producer:
        call = asyncio.create_task(producer.publish([record]))
        future = producer.send(record)
    async with asyncio.timeout(10):
        [outcome] = await call
        assert isinstance(outcome, Unavailable)
        with pytest.raises(Unavailable, match="never sent"):
            await future
    with pytest.raises(RuntimeError, match="async with"):
        producer.send(record)
    assert await settled(threads) <= threads
    assert producer.describe().counters["waiting"] == 0
