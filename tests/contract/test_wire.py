# SPDX-License-Identifier: Apache-2.0
"""The wire port, on a real Kafka and a real Redis, and a bridge between two buses over each."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

import nerv
from nerv.bus import EventBus, SubscriberFailed
from nerv.bus.bridge import Bridge
from nerv.bus.kafka_wire import KafkaWire
from nerv.bus.redis_wire import RedisWire
from nerv.bus.relay import Relay
from nerv.errors import Invalid, Misconfigured, Overloaded, UnknownOutcome
from nerv.history.store import TemporalStore
from nerv.kafka import BatchConsumer, KafkaSettings, Outgoing, Producer
from nerv.kafka.admin import Admin
from nerv.kafka.deadletters import CAUSE
from nerv.projections import Changed, StateProjector
from nerv.protocols import AppendRequest, ReadQuery
from nerv.protocols.wire import Wire
from nerv.redis import RedisSettings, connect
from nerv.redis.connection import Redis
from nerv.state import Delta, freeze, thaw
from nerv.testing.contracts.wire import WireContract, collect, event, first
from nerv.topics import Topic
from nerv.types import Event, Health, new_event_id, utc_now


@pytest.fixture
def settings(kafka: str, mesh_name: str) -> KafkaSettings:
    """A topic of its own for each test, and one for dead letters."""
    found = KafkaSettings(bootstrap_servers=kafka)
    Admin(found, mesh_name).create([Topic(f"{mesh_name}.{name}", 1) for name in ("bus", "dead")])
    return found


@pytest.fixture
async def producer(settings: KafkaSettings, mesh_name: str) -> AsyncIterator[Producer]:
    """A producer."""
    async with Producer(settings, mesh_name) as made:
        yield made


def kafka_wire(settings: KafkaSettings, producer: Producer, name: str) -> KafkaWire:
    """One end of a wire."""
    return KafkaWire(
        f"{name}.bus", producer=producer, settings=settings, group=f"{name}.bus", deadletters=f"{name}.dead"
    )


class TestKafkaWire(WireContract):
    """A topic keeps the contract."""

    @pytest.fixture
    def wire(self, settings: KafkaSettings, producer: Producer, mesh_name: str) -> Wire:
        """One end."""
        return kafka_wire(settings, producer, mesh_name)

    @pytest.fixture
    def sibling(self, settings: KafkaSettings, producer: Producer, mesh_name: str) -> Wire:
        """Another."""
        return kafka_wire(settings, producer, mesh_name)

    async def test_what_cannot_be_read_goes_to_the_dead_letters(
        self, wire: Wire, settings: KafkaSettings, producer: Producer, mesh_name: str
    ) -> None:
        """With its bytes and the cause; the ones behind it come."""
        await producer.publish([Outgoing(f"{mesh_name}.bus", b"x", None, [("ce_id", b"1"), ("ce_type", b"t")])])
        await wire.put([event("good")])
        [arrived] = await first(wire.take())
        assert arrived.event.data == b"good"
        dead = BatchConsumer(settings, mesh_name, f"{mesh_name}.look", assign={(f"{mesh_name}.dead", 0): 0})
        async with dead, asyncio.timeout(20):
            [letter] = await anext(dead.batches())
        assert letter.value() == b"x"
        assert b"ce_source" in dict(letter.headers() or [])[CAUSE]

    async def test_reading_without_a_group_is_refused(self, settings: KafkaSettings, producer: Producer) -> None:
        """With what is missing."""
        with pytest.raises(Misconfigured, match="group="):
            await first(KafkaWire("t", producer=producer, settings=settings).take())


@pytest.fixture
async def redis(redis_url: str, mesh_name: str) -> AsyncIterator[Redis]:
    """Connections to a real server; the test's keys are deleted afterwards."""
    client = connect(RedisSettings(url=redis_url), mesh_name)
    yield client
    keys = [key async for key in client.scan_iter(f"{mesh_name}:*")]
    if keys:
        await client.unlink(*keys)
    await client.aclose()


class TestRedisWire(WireContract):
    """A stream keeps the contract."""

    @pytest.fixture
    def wire(self, redis: Redis, mesh_name: str) -> Wire:
        """One end. The lease is short, so that a lost batch comes again soon."""
        return RedisWire(redis, f"{mesh_name}:bus", reader="one", lease_ms=300)

    @pytest.fixture
    def sibling(self, redis: Redis, mesh_name: str) -> Wire:
        """Another."""
        return RedisWire(redis, f"{mesh_name}:bus", reader="two", lease_ms=300)

    async def test_a_full_stream_takes_nothing_of_a_batch(self, redis: Redis, mesh_name: str) -> None:
        """All or none, and the sender is told."""
        wire = RedisWire(redis, f"{mesh_name}:bus", reader="one", limit=2)
        await wire.put([event("1")])
        with pytest.raises(Overloaded):
            await wire.put([event("2"), event("3")])
        assert await redis.xlen(f"{mesh_name}:bus") == 1

    async def test_readers_that_keep_the_order_take_turns(self, redis: Redis, mesh_name: str) -> None:
        """While one has a batch in hand the others wait, whatever comes; then another goes on where it ended."""
        one, two = (RedisWire(redis, f"{mesh_name}:bus", reader=name, ordered=True) for name in ("one", "two"))
        await one.put([event("1"), event("2")])
        holding = one.take()
        assert [a.event.data for a in await first(holding)] == [b"1", b"2"]
        waiting = asyncio.ensure_future(first(two.take()))
        await one.put([event("3")])
        pending: Any = await redis.xpending(f"{mesh_name}:bus", "bus")
        assert (pending["pending"], waiting.done()) == (2, False)
        going_on = asyncio.ensure_future(first(holding))  # it is done with the first two
        async with asyncio.timeout(30):
            done, _ = await asyncio.wait({waiting, going_on}, return_when=asyncio.FIRST_COMPLETED)
        assert [a.event.data for a in next(iter(done)).result()] == [b"3"]
        for task in (waiting, going_on):
            task.cancel()
        await asyncio.wait({waiting, going_on})

    async def test_a_put_that_is_repeated_is_there_once(self, redis: Redis, mesh_name: str) -> None:
        """The first one was done, and its answer was lost; what follows is new, whatever its id."""
        wire = RedisWire(redis, f"{mesh_name}:bus", reader="one")
        scripts = wire._scripts

        async def lost(name: str, *given: Any) -> Any:
            await scripts(name, *given)
            wire._scripts = scripts
            raise UnknownOutcome("the answer was lost")

        wire._scripts = cast("Any", lost)
        batch = [event("1"), event("2")]
        with pytest.raises(UnknownOutcome):
            await wire.put(batch)
        await wire.put(batch)
        assert await redis.xlen(wire.stream) == 2
        await wire.put(batch)
        assert await redis.xlen(wire.stream) == 4

    async def test_a_batch_in_hand_stays_while_its_reader_lives(
        self, wire: Wire, sibling: Wire, redis: Redis, mesh_name: str
    ) -> None:
        """For longer than the lease; another reader gets what is new only."""
        await wire.put([event("held")])
        batches = wire.take()
        [held] = await first(batches)
        other = asyncio.ensure_future(first(sibling.take()))
        delivered = await _idle(redis, mesh_name)
        async with asyncio.timeout(10):
            while await _idle(redis, mesh_name) >= delivered:  # renewed: it is idle for a shorter time again
                delivered = await _idle(redis, mesh_name)
        await wire.put([event("new")])
        [arrived] = await other
        assert (held.event.data, arrived.event.data) == (b"held", b"new")
        await batches.aclose()  # type: ignore[attr-defined]

    async def test_what_cannot_be_read_is_put_aside(self, wire: Wire, redis: Redis, mesh_name: str) -> None:
        """Beside the stream, with the cause; the ones behind it come."""
        await redis.xadd(f"{mesh_name}:bus", {"event": b"\xff\xff"})
        await wire.put([event("good")])
        [arrived] = await first(wire.take())
        assert arrived.event.data == b"good"
        found: Any = await redis.xrange(f"{mesh_name}:bus:refused")
        [(_, fields)] = found
        assert fields[b"event"] == b"\xff\xff"
        assert b"nerv.api.event.v1.Event" in fields[b"cause"]

    async def test_a_deleted_stream_is_made_anew(self, wire: Wire, redis: Redis, mesh_name: str) -> None:
        """A reader that waits goes on when Redis has lost the stream and its group."""
        waiting = asyncio.ensure_future(first(wire.take()))
        async with asyncio.timeout(10):
            while not await redis.exists(f"{mesh_name}:bus"):  # noqa: ASYNC110 - the condition is in Redis
                await asyncio.sleep(0.01)
        await redis.unlink(f"{mesh_name}:bus")
        await wire.put([event("after")])
        assert [a.event.data for a in await waiting] == [b"after"]


async def _idle(redis: Redis, mesh_name: str) -> int:
    [pending] = await redis.xpending_range(f"{mesh_name}:bus", "bus", "-", "+", 1)
    return int(pending["time_since_delivered"])


def done(relay: Relay, what: str) -> int:
    """How many events a bridge did this with."""
    return dict(relay.describe().counters).get(what, 0)


def made(number: int) -> Event[dict[str, int]]:
    """An event of a bus, with data that is no bytes."""
    return Event(new_event_id(), "here", "flight.departed.v1", utc_now(), {"n": number}, partition_key="k")


class TestRelay:
    """A topic and a stream, joined both ways."""

    @pytest.fixture
    def topic(self, settings: KafkaSettings, producer: Producer, mesh_name: str) -> Wire:
        """The topic, as the bridge to the stream reads it."""
        return kafka_wire(settings, producer, mesh_name)

    @pytest.fixture
    def stream(self, redis: Redis, mesh_name: str) -> RedisWire:
        """The stream."""
        return RedisWire(redis, f"{mesh_name}:bus", reader="one")

    async def test_events_go_over_and_do_not_come_back(
        self, topic: Wire, stream: RedisWire, settings: KafkaSettings, producer: Producer, mesh_name: str
    ) -> None:
        """From the topic to the stream, which says where they have been; what begins in the stream goes the other way."""
        back = KafkaWire(
            f"{mesh_name}.bus",
            producer=producer,
            settings=settings,
            group=f"{mesh_name}.b",
            deadletters=f"{mesh_name}.dead",
        )
        async with Relay(topic, stream, types="wire.*") as over, Relay(stream, topic, name="back") as returning:
            first_one, other = event("one"), event("other")
            await topic.put([first_one, replace(event("else"), type="else.v1")])
            async with asyncio.timeout(30):
                while not (done(over, "carried") and done(returning, "passed over")):  # noqa: ASYNC110 - in Kafka
                    await asyncio.sleep(0.01)
                await RedisWire(stream._client, stream.stream, reader="two").put([other])
                found = {e.data: e.via for e in await collect(back, 3)}
        assert found == {b"one": None, b"else": None, b"other": stream.name}
        assert returning.describe().counters["carried"] == 1

    async def test_a_batch_that_comes_again_adds_nothing(self, topic: Wire, stream: RedisWire, redis: Redis) -> None:
        """Whoever carried it died before he could say so: by its places in the topic it is known."""
        await topic.put([event(str(number)) for number in range(20)])
        batches = topic.take()
        batch = await first(batches)
        places = [arrived.place for arrived in batch if arrived.place is not None]
        for part in (10, len(batch), 3):
            await stream.put([arrived.event for arrived in batch[:part]], places[:part])
        assert await redis.xlen(stream.stream) == len(batch)
        await batches.aclose()  # type: ignore[attr-defined]

    async def test_what_waits_is_told(self, topic: Wire, stream: RedisWire) -> None:
        """Of a topic how far its group is behind, of a stream its entries; nothing once they went over."""
        await stream.put([event("1"), event("2")])
        assert await stream.lag() == 2
        relay = Relay(stream, topic)
        assert await relay.lag() == 2
        async with relay, asyncio.timeout(30):
            while await relay.lag():  # noqa: ASYNC110 - the condition is in Redis
                await asyncio.sleep(0.01)
        batches = topic.take()
        assert len(await first(batches)) == 2
        assert await topic.lag() >= 2  # it is not done with
        await batches.aclose()  # type: ignore[attr-defined]

    async def test_what_the_other_wire_refuses_is_put_aside(
        self, topic: Wire, stream: RedisWire, redis: Redis, mesh_name: str
    ) -> None:
        """With the cause, and the ones behind it go on."""
        large = replace(event("large"), data=b"x" * 2_000_000)
        await stream.put([large, event("good")])
        async with Relay(stream, topic) as relay, asyncio.timeout(60):
            while not done(relay, "refused") or await relay.lag():  # noqa: ASYNC110 - in Redis
                await asyncio.sleep(0.01)
        assert await redis.xlen(f"{mesh_name}:bus:refused") == 1
        assert b"good" in {e.data for e in await collect(topic, 1)}


class BridgeContract:
    """A bridge over any wire."""

    async def test_events_cross_from_one_bus_to_another_and_do_not_return(self, wire: Wire, sibling: Wire) -> None:
        """In order, as the other bus wants them; an event that came in goes out by no bridge that brought it."""
        here, there = EventBus("here"), EventBus("there")
        heard: list[int] = []
        enough = asyncio.Event()

        def hear(e: Event[Any]) -> None:
            heard.append(e.data["n"])
            if len(heard) >= 50:
                enough.set()

        def decode(e: Event[bytes]) -> Event[Any]:
            return Event(e.id, e.source, e.type, e.time, orjson.loads(e.data))

        there.subscribe("flight.*", hear)
        both = Bridge(there, sibling, outward="flight.*", inward=True, decode=decode)
        async with here, there, Bridge(here, wire, outward="flight.*") as out, both:
            for number in range(50):
                await here.publish(made(number))
            await asyncio.wait_for(enough.wait(), 30)
            await there.drain()
            assert both.describe().health is Health.OK
        assert heard == list(range(50))
        assert out.describe().counters == {"out": 50}
        assert both.describe().counters.get("out", 0) == 0

    async def test_what_changed_in_a_state_goes_over(self, wire: Wire, sibling: Wire) -> None:
        """A bridge takes any observable outward: here the deltas of a projector."""
        app = nerv.App("counting")
        app.event("thing.counted.v1")(nerv.Event)
        app.projection("thing", on=["thing.counted.v1"])(
            lambda state, _: {"count": (state or {"count": 0})["count"] + 1}
        )
        async with TemporalStore.in_memory() as store, StateProjector[Any](app, "thing", store) as projector:

            def encode(told: Event[Changed]) -> Event[bytes]:
                change: Any = replace(cast("Event[Any]", told), data=told.data.delta.to_bytes())
                return cast("Event[bytes]", change)

            async with Bridge(projector, wire, outward="nerv.state.changed.v1", encode=encode):
                counted = [Event(new_event_id(), "test", "thing.counted.v1", utc_now(), b"{}") for _ in range(3)]
                await store.append([AppendRequest("thing-1", counted)])
                [last] = [e async for e in store.read("thing-1", ReadQuery(from_version=3))]
                await projector.take(last)
            with pytest.raises(Misconfigured, match="EventBus"):
                Bridge(projector, wire, inward=True)
        [told] = await collect(sibling, 1)
        assert (told.type, told.subject, told.causation_id) == ("nerv.state.changed.v1", "1", last.id)
        assert thaw(Delta.from_bytes(told.data).apply(freeze({"count": 2}))) == {"count": 3}

    async def test_what_the_bus_refuses_is_put_aside(self, wire: Wire, sibling: Wire) -> None:
        """A middleware that raises, or data that cannot be decoded, stops nothing."""
        heard: list[bytes] = []
        came = asyncio.Event()

        def no_bad(e: Event[bytes]) -> Event[bytes]:
            if e.data == b"bad":
                raise Invalid("no bad ones here")
            return e

        def hear(e: Event[bytes]) -> None:
            heard.append(e.data)
            came.set()

        async with EventBus("there", middleware=[no_bad]) as there:
            there.subscribe("wire.*", hear)
            async with Bridge(there, sibling, inward=True) as bridge:
                await wire.put([event("bad"), event("good")])
                await asyncio.wait_for(came.wait(), 30)
                assert (heard, bridge.describe().counters["refused"]) == ([b"good"], 1)

    async def test_what_cannot_be_sent_is_a_failure_on_the_bus(self, wire: Wire) -> None:
        """With the events in it, so that nothing goes in silence."""
        failures: list[Event[SubscriberFailed]] = []
        async with EventBus("here") as here:
            here.subscribe("nerv.bus.*", failures.append, weak=False)
            async with Bridge(here, wire, outward="flight.*", name="out"):
                here.send(Event("1", "here", "flight.departed.v1", utc_now(), object()))
        [failure] = failures
        assert failure.data.subscriber == "out"
        assert [e.id for e in failure.data.events] == ["1"]


class TestKafkaBridge(BridgeContract):
    """Over a topic."""

    @pytest.fixture
    def wire(self, settings: KafkaSettings, producer: Producer, mesh_name: str) -> Wire:
        """One end."""
        return kafka_wire(settings, producer, mesh_name)

    @pytest.fixture
    def sibling(self, settings: KafkaSettings, producer: Producer, mesh_name: str) -> Wire:
        """Another."""
        return kafka_wire(settings, producer, mesh_name)


class TestRedisBridge(BridgeContract):
    """Over a stream."""

    @pytest.fixture
    def wire(self, redis: Redis, mesh_name: str) -> Wire:
        """One end."""
        return RedisWire(redis, f"{mesh_name}:bus", reader="one")

    @pytest.fixture
    def sibling(self, redis: Redis, mesh_name: str) -> Wire:
        """Another."""
        return RedisWire(redis, f"{mesh_name}:bus", reader="two")
