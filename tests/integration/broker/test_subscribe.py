# SPDX-License-Identifier: Apache-2.0
"""Reading a topic as server-sent events: from every kind of start, and on after a broken connection."""

import asyncio
import json
import re
import socket
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from nerv.client import Client
from nerv.client.topics import Consumed, Wanted
from nerv.cloudevents import to_headers
from nerv.dev.mesh import LocalMesh
from nerv.errors import Invalid, NotFound
from nerv.kafka import KafkaSettings, Outgoing, Producer
from nerv.types import Event, format_instant, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


def deposit(account: str) -> Event[bytes]:
    """A deposit of one."""
    data = json.dumps({"account": account, "amount": 1}).encode()
    return Event(new_event_id(), "test", "account.deposited.v1", datetime(2013, 1, 15, tzinfo=UTC), data)


async def take(
    client: Client, topic: str, start: str, count: int, into: list[Consumed] | None = None
) -> list[Consumed]:
    """The next so many events, as they come in `into`."""
    found: list[Consumed] = [] if into is None else into
    async with asyncio.timeout(40):
        async for consumed in client.topics.consume(topic, start):
            found.append(consumed)
            if len(found) == count:
                return found
    return found


async def test_every_start_and_exact_resume(client: Client, mesh: LocalMesh, prefix: str) -> None:
    """earliest, an offset and an instant give what they name; latest gives what comes after."""
    topic = f"{prefix}.account.v1"
    first = [deposit(f"s{n}") for n in range(5)]
    path, query = f"/v1/topics/{topic}/events", {"from": "latest"}
    async with (
        asyncio.timeout(40),
        aiohttp.ClientSession(mesh.url("broker")) as session,
        session.get(path, params=query) as answer,
    ):
        await answer.content.readuntil(b"\n\n")  # it says where it stands before the first event
        await client.topics.publish(topic, first)
        assert set(await _ids(answer.content, 5)) == {e.id for e in first}

    between = format_instant(datetime.now(UTC))
    await asyncio.sleep(0.01)
    second = [deposit(f"s{n}") for n in range(5)]
    placed = await client.topics.publish(topic, second)
    assert {c.event.id for c in await take(client, topic, between, 5)} == {e.id for e in second}

    one = placed[0]
    [found] = await take(client, topic, f"{one.partition}:{one.offset}", 1)
    assert (found.event.id, found.partition, found.offset) == (one.id, one.partition, one.offset)

    everything = await read(client, topic, "earliest")
    assert {e.id for e in [*first, *second]} <= {c.event.id for c in everything}


async def test_the_order_of_a_key_holds(client: Client, prefix: str) -> None:
    """Events of one account come in the order in which they were published."""
    topic = f"{prefix}.account.v1"
    since = format_instant(datetime.now(UTC))
    events = [deposit(f"k{n % 3}") for n in range(300)]
    for start in range(0, 300, 50):
        await client.topics.publish(topic, events[start : start + 50])
    found = await take(client, topic, since, 300)
    for key in range(3):
        wanted = [e.id for e in events if json.loads(e.data)["account"] == f"k{key}"]
        assert [c.event.id for c in found if json.loads(c.event.data)["account"] == f"k{key}"] == wanted


async def test_a_restart_of_the_broker_leaves_no_gap_and_no_double(
    client: Client, mesh: LocalMesh, prefix: str
) -> None:
    """The broker is killed while a reader reads: the reader goes on, and has every event once."""
    topic = f"{prefix}.account.v1"
    since = format_instant(datetime.now(UTC))
    before, after = [deposit("r") for _ in range(50)], [deposit("r") for _ in range(50)]
    await client.topics.publish(topic, before)
    found: list[Consumed] = []
    reading = asyncio.create_task(take(client, topic, since, 100, found))
    async with asyncio.timeout(20):
        while len(found) < 50:  # noqa: ASYNC110 - the reader is a task of its own
            await asyncio.sleep(0.01)
    await mesh.kill("broker")
    await mesh.restart("broker")
    await client.topics.publish(topic, after)
    assert [c.event.id for c in await reading] == [e.id for e in [*before, *after]]


async def test_followers_share_one_reading_and_a_slow_one_catches_up(
    client: Client, mesh: LocalMesh, prefix: str
) -> None:
    """Nobody has a consumer of his own while all keep up. Who does not read while more comes than is kept for him reads the rest
    later, without a gap and without a double.
    """
    topic, count = f"{prefix}.notice.v1", 200
    path = f"/v1/topics/{topic}/events"
    data = json.dumps({"account": "x" * 80_000, "amount": 1}).encode()
    events = [Event(new_event_id(), "test", "account.noticed.v1", datetime(2013, 1, 15, tzinfo=UTC), data)] * count
    events = [replace(event, id=new_event_id()) for event in events]
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    host, _, port = mesh.url("broker").removeprefix("http://").partition(":")
    await asyncio.get_running_loop().sock_connect(small, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=small, limit=4096)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    await reader.readuntil(b"id: ")
    async with aiohttp.ClientSession(mesh.url("broker"), read_bufsize=2**20) as session, asyncio.timeout(120):
        followers = [await session.get(path) for _ in range(5)]
        for follower in followers:
            await follower.content.readuntil(b"\n\n")
        reading = [asyncio.create_task(_ids(follower.content, count)) for follower in followers]
        for start in range(0, count, 10):
            await client.topics.publish(topic, events[start : start + 10])
        wanted = sorted(event.id for event in events)
        assert [sorted(found) for found in await asyncio.gather(*reading)] == [wanted] * 5
        assert sorted(await _ids(reader, count)) == wanted
        parts = (await client.components("broker"))["parts"]
        [counters] = [part["counters"] for part in parts if part["kind"] == "Subscriptions"]
        assert counters["open"] >= 6
        assert counters["fell_behind"] >= 1
        for follower in followers:
            follower.close()
        writer.close()


async def _ids(content: asyncio.StreamReader | aiohttp.StreamReader, count: int) -> list[str]:
    """The ids of so many events."""
    found: list[str] = []
    text = b""
    while len(found) < count:
        text += await content.read(65_536)
        *whole, text = text.split(b"\n\n")
        found += re.findall(r'"id":"([^"]+)"', b"".join(whole).decode())
    return found


async def test_open_streams_get_what_is_added_to_their_topic(client: Client, kafka: str, prefix: str) -> None:
    """Those who share a reading, one with a pace of his own, and one who comes back with an id from before; who named the
    partition that there was gets nothing more.
    """
    topic = f"{prefix}.growing.v1"
    await client.topics.create(topic, 1)
    taking = [asyncio.create_task(take(client, topic, "earliest", 40)) for _ in range(2)]
    taking += [asyncio.create_task(take_slowly(client, topic, 40))]
    alone: list[Consumed] = []
    named = asyncio.create_task(take(client, topic, "0:0", 40, alone))
    first = [noted(n) for n in range(20)]
    await client.topics.publish(topic, first)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
    later = [noted(n) for n in range(20, 40)]
    async with Producer(KafkaSettings(bootstrap_servers=kafka), "test") as producer:
        await producer.publish_all(
            [Outgoing(topic, one.data, None, to_headers(one), 1 + n % 2) for n, one in enumerate(later)]
        )
    wanted = sorted(event.id for event in [*first, *later])
    for found in await asyncio.gather(*taking, take(client, topic, "0:0,*", 40)):
        assert sorted(one.event.id for one in found) == wanted
    async with asyncio.timeout(40):
        while len(alone) < len(first):  # noqa: ASYNC110 - the reader is a task of its own
            await asyncio.sleep(0.01)
    named.cancel()
    assert {one.partition for one in alone} == {0}


async def take_slowly(client: Client, topic: str, count: int) -> list[Consumed]:
    """The next so many events, at a rate."""
    found = []
    async with asyncio.timeout(40):
        async for one in client.topics.consume(topic, "earliest", Wanted(rate=1000.0)):
            found.append(one)
            if len(found) == count:
                break
    return found


def noted(number: int) -> Event[bytes]:
    """Of a type that no app declares."""
    return Event(new_event_id(), "test", "thing.noted.v1", datetime(2013, 1, 15, tzinfo=UTC), b"%d" % number)


async def test_wrong_starts_are_refused(client: Client, mesh: LocalMesh, prefix: str) -> None:
    """Nonsense, an offset beyond the end, a partition that is not there, a topic that is not there."""
    topic = f"{prefix}.account.v1"
    for start in ("yesterday", "0:99999999", "9:0", "0:1,x:2"):
        with pytest.raises(Invalid):
            await take(client, topic, start, 1)
    with pytest.raises(NotFound):
        await take(client, "nowhere.at.v1", "latest", 1)


async def test_an_open_stream_ends_with_the_service(mesh: LocalMesh, prefix: str) -> None:
    """SIGTERM ends open event streams; the service does not wait for them."""
    async with aiohttp.ClientSession(mesh.url("broker")) as session:
        async with session.get(f"/v1/topics/{prefix}.account.v1/events") as answer:
            assert answer.status == 200
            first = await answer.content.readuntil(b"\n\n")
            assert first.startswith(b"id: ")
            await mesh.restart("broker")
            rest = await answer.content.read()
        assert b"event: error" not in rest


async def read(client: Client, topic: str, start: str, wanted: Wanted = Wanted(), to: str = "latest") -> list[Consumed]:
    """A range of a topic, whole."""
    async with asyncio.timeout(30):
        return [consumed async for consumed in client.topics.consume(topic, start, wanted, to=to)]


async def test_only_what_is_wanted_comes(client: Client, prefix: str) -> None:
    """By type, by subject, by the fields of the data; all conditions hold together."""
    topic = f"{prefix}.account.v1"
    since = format_instant(datetime.now(UTC))
    events = [
        replace(deposit(f"f{n}"), data=json.dumps({"account": f"f{n}", "amount": n}).encode(), subject=f"sub{n % 2}")
        for n in range(20)
    ]
    await client.topics.publish(topic, events)

    async def amounts(wanted: Wanted) -> set[int]:
        return {json.loads(c.event.data)["amount"] for c in await read(client, topic, since, wanted)}

    assert await amounts(Wanted()) == set(range(20))
    assert await amounts(Wanted(types=["account.deposited.*"], where="amount > `16`")) == {17, 18, 19}
    assert await amounts(Wanted(subjects=["sub1"], where="amount < `4`")) == {1, 3}
    assert await amounts(Wanted(types=["nothing.*"])) == set()


async def test_a_reader_who_wants_nothing_of_it_still_moves_on(mesh: LocalMesh, client: Client, prefix: str) -> None:
    """The position passes what was left out, so that a reader who comes back does not read it again."""
    topic = f"{prefix}.account.v1"
    since = format_instant(datetime.now(UTC))
    [*_, last] = await client.topics.publish(topic, [deposit("moves-on") for _ in range(5)])
    async with aiohttp.ClientSession(mesh.url("broker")) as session, asyncio.timeout(20):
        query = {"from": since, "where": "amount == `77`"}
        async with session.get(f"/v1/topics/{topic}/events", params=query) as answer:
            while f"{last.partition}:{last.offset + 1}".encode() not in await answer.content.readuntil(b"\n\n"):
                pass


async def test_a_range_is_read_whole_and_ends(client: Client, prefix: str) -> None:
    """From an instant to an instant, from offsets to offsets; what comes after does not belong to it."""
    topic = f"{prefix}.account.v1"
    since = format_instant(datetime.now(UTC))
    await asyncio.sleep(0.01)  # the instants of records are whole milliseconds
    first = [deposit(f"range{n}") for n in range(30)]
    placed = await client.topics.publish(topic, first)
    await asyncio.sleep(0.01)
    until = format_instant(datetime.now(UTC))
    await asyncio.sleep(0.01)
    await client.topics.publish(topic, [deposit(f"range{n}") for n in range(30)])
    found = await read(client, topic, since, to=until)
    assert {c.event.id for c in found} == {e.id for e in first}
    one = placed[0]
    [only] = await read(client, topic, f"{one.partition}:{one.offset}", to=f"{one.partition}:{one.offset + 1}")
    assert only.event.id == one.id
    assert await read(client, topic, until, to=since) == []


async def test_a_range_may_be_read_slowly(client: Client, prefix: str) -> None:
    """At 50 a second 20 events take 0.3 s at least, and others read at full speed meanwhile."""
    topic = f"{prefix}.account.v1"
    since = format_instant(datetime.now(UTC))
    await client.topics.publish(topic, [deposit("slow") for _ in range(20)])
    loop = asyncio.get_running_loop()
    began = loop.time()
    slow = asyncio.create_task(read(client, topic, since, Wanted(rate=50.0)))
    assert len(await read(client, topic, since)) == 20
    assert len(await slow) == 20
    assert loop.time() - began >= 0.3


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"where": "a >"}, "where"),
        ({"rate": "0"}, "rate"),
        ({"rate": "nan"}, "rate"),
        ({"speed": "fast"}, "speed"),
        ({"to": "tomorrow"}, "to must be"),
        ({"form": "earliest"}, "no parameter 'form'"),
        ({"types": ","}, "types"),
    ],
)
async def test_wrong_wishes_are_refused(mesh: LocalMesh, prefix: str, query: dict[str, str], words: str) -> None:
    """Before anything is sent, with what is wrong."""
    async with (
        aiohttp.ClientSession(mesh.url("broker")) as session,
        session.get(f"/v1/topics/{prefix}.account.v1/events", params=query) as answer,
    ):
        assert answer.status == 400
        assert words in (await answer.json())["detail"]
