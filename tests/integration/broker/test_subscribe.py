# SPDX-License-Identifier: Apache-2.0
"""Reading a topic as server-sent events: from every kind of start, and on after a broken connection."""

import asyncio
import json
from datetime import UTC, datetime

import aiohttp
import pytest

from nerv.client import Client
from nerv.client.topics import Consumed
from nerv.dev.mesh import LocalMesh
from nerv.errors import Invalid, NotFound
from nerv.types import Event, format_instant, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")


def deposit(account: str) -> Event[bytes]:
    """A deposit of one."""
    data = json.dumps({"account": account, "amount": 1}).encode()
    return Event(new_event_id(), "test", "account.deposited.v1", datetime(2013, 1, 15, tzinfo=UTC), data)


async def take(client: Client, topic: str, start: str, count: int) -> list[Consumed]:
    """The next so many events."""
    found: list[Consumed] = []
    async with asyncio.timeout(20):
        async for consumed in client.topics.consume(topic, start):
            found.append(consumed)
            if len(found) == count:
                return found
    return found


async def test_every_start_and_exact_resume(client: Client, prefix: str) -> None:
    """earliest, an offset and an instant give what they name; latest gives what comes after."""
    topic = f"{prefix}.account.v1"
    waiting = asyncio.create_task(take(client, topic, "latest", 5))
    await asyncio.sleep(0.5)  # the subscription must stand before the first event; it says so only to its own reader
    first = [deposit(f"s{n}") for n in range(5)]
    await client.topics.publish(topic, first)
    assert {c.event.id for c in await waiting} >= {e.id for e in first} or len(waiting.result()) == 5

    between = format_instant(datetime.now(UTC))
    await asyncio.sleep(0.01)
    second = [deposit(f"s{n}") for n in range(5)]
    placed = await client.topics.publish(topic, second)
    assert {c.event.id for c in await take(client, topic, between, 5)} == {e.id for e in second}

    one = placed[0]
    [found] = await take(client, topic, f"{one.partition}:{one.offset}", 1)
    assert (found.event.id, found.partition, found.offset) == (one.id, one.partition, one.offset)

    everything = await take(client, topic, "earliest", 10)
    assert {e.id for e in [*first, *second]} <= {c.event.id for c in everything} or len(everything) == 10


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
    reading = asyncio.create_task(take(client, topic, since, 100))
    await asyncio.sleep(0.5)
    await mesh.kill("broker")
    await mesh.restart("broker")
    await client.topics.publish(topic, after)
    assert [c.event.id for c in await reading] == [e.id for e in [*before, *after]]


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
