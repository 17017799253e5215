# SPDX-License-Identifier: Apache-2.0
"""Middleware, reactions and bridges of an app, whole, in one mesh: what is declared happens at the door, and behind it once."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NotFound, SchemaMismatch
from nerv.subscriptions import Books, State
from nerv.subscriptions.books import load
from nerv.subscriptions.deciding import release, replay
from nerv.types import Event, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
SECONDS = 60.0
NOTED = "shop.noted.v1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app's functions and the tests meet."""
    return tmp_path_factory.mktemp("shop")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, prefix: str, folder: Path) -> AsyncIterator[LocalMesh]:
    """The broker and temporal with the shop."""
    async with LocalMesh(
        app="dying_shop:app",
        services=["temporal", "broker"],
        folder=folder / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "SHOP_TOPICS": prefix, "SHOP_FOLDER": str(folder)},
    ) as running:
        yield running


def order(customer: str, number: int = 0, kind: str = "shop.ordered.v1", **changes: Any) -> Event[bytes]:
    """An order."""
    data = json.dumps({"customer": customer, "number": number, "card": "4711"}).encode()
    time = datetime(2013, 1, 15, tzinfo=UTC)
    return Event(new_event_id(), "test", kind, time, data, **changes)


async def until(condition: Callable[[], Any]) -> Any:
    """What the condition gives, awaited, once that is something."""
    async with asyncio.timeout(SECONDS):
        while not (found := await condition()):  # noqa: ASYNC110 - other processes bring it about
            await asyncio.sleep(0.05)
    return found


async def numbers(client: Client, stream: str, count: int) -> list[int]:
    """The numbers of the orders in a stream, once there are so many."""

    async def enough() -> list[int]:
        try:
            found = [json.loads(e.data)["number"] async for e in client.streams.read(stream)]
        except NotFound:
            return []
        return found if len(found) >= count else []

    return await until(enough) if count else await enough()


async def said(client: Client, topic: str, wanted: Callable[[Event[bytes]], bool], count: int) -> list[Event[bytes]]:
    """Events of a topic that are wanted, once there are so many; read from its beginning."""
    found: list[Event[bytes]] = []
    async with asyncio.timeout(SECONDS):
        async for consumed in client.topics.consume(topic, "earliest"):
            if wanted(consumed.event):
                found.append(consumed.event)
                if len(found) == count:
                    break
    return found


async def test_middleware_at_the_door(client: Client, prefix: str) -> None:
    """What is dropped is answered as dropped; what is refused refuses all; subscribers see no card; the history tells of it."""
    topic = f"{prefix}.order.v1"
    kept, dropped = await client.topics.publish(topic, [order("door"), order("door", subject="test")])
    assert (kept.dropped, dropped.dropped, dropped.offset) == (None, "filter(no_tests)", -1)
    with pytest.raises(SchemaMismatch, match="odd") as caught:
        await client.topics.publish(topic, [order("nobody"), order("nobody", subject="odd")])
    assert [fault["index"] for fault in caught.value.errors] == [1]
    [seen] = await said(client, topic, lambda e: b'"door"' in e.data, 1)
    assert json.loads(seen.data) == {"customer": "door", "number": 0, "card": "***", "region": "eu"}
    told = await client.topics.history(topic)
    assert told["steps"]["publish"] == ["filter(no_tests)", "validate(not_odd)", "enrich(region)"]
    assert (told["did"]["filter(no_tests)"], told["published"]["refused"], told["published"]["dropped"]) == (1, 1, 1)
    assert "refused" in {entry["outcome"] for entry in told["events"]}


async def test_a_routed_event_goes_elsewhere(client: Client, prefix: str) -> None:
    """The answer names the place in the other topic, and it is there."""
    await client.topics.publish(f"{prefix}.plain.v1", [order("routed", 7, NOTED, subject="big")])
    [seen] = await said(client, f"{prefix}.big.v1", lambda e: True, 1)
    assert json.loads(seen.data)["number"] == 7


async def test_reactions_go_through_aspects_handlers_and_middleware(client: Client, prefix: str, folder: Path) -> None:
    """An append of the event as it was enriched, a publish that its topic redacts, and the app's own effect with its id."""
    await client.topics.publish(f"{prefix}.order.v1", [order("mailed-1", 3)])
    assert await numbers(client, "customer-mailed-1", 1) == [3]
    [recorded] = [e async for e in client.streams.read("customer-mailed-1")]
    assert json.loads(recorded.data)["region"] == "eu"
    [confirmed] = await said(client, f"{prefix}.confirmed.v1", lambda e: b"mailed-1" in e.data, 1)
    assert json.loads(confirmed.data)["card"] == "***"
    mails = (folder / "mails").read_text().splitlines()
    [(_, number, id_)] = [line.split() for line in mails if line.startswith("mailed-1 ")]
    assert (number, len(id_)) == ("3", 32)
    assert {"confirm", "tally", "append", "mail"} <= set((folder / "calls").read_text().split())


async def test_a_reaction_with_batch_answers_each_event(client: Client, prefix: str) -> None:
    """In order of the key, and as many as there were."""
    await client.topics.publish(f"{prefix}.order.v1", [order(f"tally-{n % 2}", n) for n in range(250)])
    assert await numbers(client, "tally-tally-1", 125) == list(range(1, 250, 2))


async def test_a_failing_key_waits_and_is_released_in_order(
    client: Client, mesh: LocalMesh, prefix: str, folder: Path
) -> None:
    """Its later events wait behind it, of that reaction alone; other keys go on; released, all happen in their order."""
    topic = f"{prefix}.order.v1"
    await client.topics.publish(topic, [order("bad-1", 0), order("fine", 0), order("bad-1", 1)])
    await client.topics.publish(topic, [order("bad-1", 2), order("fine", 1)])
    assert await numbers(client, "customer-fine", 2) == [0, 1]

    async def parked() -> Any:
        ledger = await load(client.streams, "confirm")
        letters = sorted(ledger.letters.values(), key=lambda one: one.origin)
        mine = [one for one in letters if one.key == "bad-1"]
        return mine if len(mine) == 3 else None

    letters = await until(parked)
    assert [(one.state, one.held) for one in letters] == [(State.DEAD, False), (State.DEAD, True), (State.DEAD, True)]
    assert "nobody knows bad-1" in letters[0].cause
    assert letters[0].attempt == 5
    assert await numbers(client, "customer-bad-1", 0) == []
    async with Books(client.streams, "confirm") as books:
        # Nothing is repaired: the first fails again, the others stay behind it.
        await books.decide(lambda ledger: release(ledger, "bad-1", "test"))
        await until(lambda: settled(books, 3))
        assert next(one.attempt for one in books.ledger.lane(letters[0].lane)) == 10
        (folder / "repaired").touch()
        await client.topics.publish(topic, [order("bad-1", 3)])
        await books.decide(lambda ledger: release(ledger, "bad-1", "test"))
        await until(lambda: settled(books, 0))
    await client.topics.publish(topic, [order("bad-1", 4)])
    assert await numbers(client, "customer-bad-1", 5) == [0, 1, 2, 3, 4]
    confirmed = await said(client, f"{prefix}.confirmed.v1", lambda e: b"bad-1" in e.data, 5)
    assert [json.loads(e.data)["number"] for e in confirmed] == [0, 1, 2, 3, 4]


async def settled(books: Books, count: int) -> bool:
    """Whether there are so many letters of bad-1 left, all of which wait for people."""
    left = [one for one in books.ledger.letters.values() if one.key == "bad-1"]
    return len(left) == count and all(one.state is State.DEAD for one in left)


async def test_one_letter_is_replayed_to_its_reaction_alone(client: Client, mesh: LocalMesh, prefix: str) -> None:
    """What raises for ever stays a letter, by the name of the reaction; the other reaction had it once."""
    topic = f"{prefix}.order.v1"
    await client.topics.publish(topic, [order("tally-x", -1)])
    assert await numbers(client, "tally-tally-x", 1) == [-1]

    async def letter() -> Any:
        ledger = await load(client.streams, "confirm")
        return [one for one in ledger.letters.values() if one.key == "tally-x" and one.state is State.DEAD]

    [dead] = await until(letter)
    async with Books(client.streams, "confirm") as books:
        await books.decide(lambda ledger: replay(ledger, [dead.origin], "test"))

        async def again() -> Any:
            now = books.ledger.letters[dead.origin]
            return now if now.state is State.DEAD and now.attempt > dead.attempt else None

        assert (await until(again)).place != dead.place
    assert await numbers(client, "tally-tally-x", 1) == [-1]


async def test_a_replay_that_stands_is_not_made_again(
    client: Client, mesh: LocalMesh, prefix: str, folder: Path
) -> None:
    """The broker dies after the transaction of a replay and before the books say so: what was published is there once."""
    topic = f"{prefix}.order.v1"
    (folder / "repaired").unlink(missing_ok=True)
    await client.topics.publish(topic, [order("bad-2", n) for n in range(3)])

    async def dead() -> Any:
        ledger = await load(client.streams, "confirm")
        return sum(one.key == "bad-2" for one in ledger.letters.values()) == 3

    await until(dead)
    (folder / "repaired").touch()
    (folder / "die").touch()
    async with Books(client.streams, "confirm") as books:
        await books.decide(lambda ledger: release(ledger, "bad-2", "test"))
        await until(lambda: _gone(folder / "die"))
        await mesh.restart("broker")

        async def settled_all() -> bool:
            return not any(one.key == "bad-2" for one in books.ledger.letters.values())

        await until(settled_all)
    await client.topics.publish(topic, [order("bad-2", 3)])
    assert await numbers(client, "customer-bad-2", 4) == [0, 1, 2, 3]
    await said(client, f"{prefix}.confirmed.v1", lambda e: b"bad-2" in e.data and b'"number":3' in e.data, 1)
    confirmed = [e async for e in _all(client, f"{prefix}.confirmed.v1") if b"bad-2" in e.data]
    assert [json.loads(e.data)["number"] for e in confirmed] == [0, 1, 2, 3]


async def _gone(path: Path) -> bool:
    return not await asyncio.to_thread(path.exists)


async def test_bridges_carry_each_event_to_each_place_once(client: Client, prefix: str) -> None:
    """Round a ring of three places and by way of the bus; where it comes from is told; nothing waits at the end."""
    orders, plain = f"{prefix}.order.v1", f"{prefix}.plain.v1"
    await client.topics.publish(orders, [order("ring", 1)])
    await client.topics.publish(plain, [order("ring", 2, NOTED)])
    [over] = await said(client, plain, lambda e: b'"ring"' in e.data and b"1" in e.data[:40], 1)
    assert over.via == f"topic:{orders}>stream:warehouse"
    home = await said(client, orders, lambda e: b'"ring"' in e.data, 2)
    assert sorted((json.loads(e.data)["number"], e.via) for e in home) == [(1, None), (2, f"topic:{plain}")]
    heard = await said(client, f"{prefix}.said.v1", lambda e: b"ring" in e.data, 2)
    assert Counter(e.via for e in heard) == {"bus:shop": 2}

    async def quiet() -> bool:
        return all(bridge["lag"] == 0 for bridge in await client.topics.bridges())

    await until(quiet)
    ring = [e async for e in _all(client, plain) if b'"ring"' in e.data]
    assert len({e.id for e in ring}) == len(ring) == 2


async def _all(client: Client, topic: str) -> AsyncIterator[Event[bytes]]:
    async for consumed in client.topics.consume(topic, "earliest", to="latest"):
        yield consumed.event
