# SPDX-License-Identifier: Apache-2.0
"""Two brokers share the work; when one is killed or ended the other goes on, and nothing is lost or repeated."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.client.subscriptions import Verdict
from nerv.dev.mesh import LocalMesh
from nerv.errors import Forbidden, Unavailable, UnknownOutcome
from nerv.types import Event, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
PREFIX = f"ledger-{uuid.uuid4().hex[:8]}"


def deposit(number: int, kind: str = "account.deposited.v1") -> Event[bytes]:
    """A deposit, or what is told of one, for one of eight accounts."""
    data = json.dumps({"account": f"r{number % 8}", "amount": number}).encode()
    return Event(new_event_id(), "test", kind, datetime(2013, 1, 15, tzinfo=UTC), data)


def tokens(folder: Path) -> dict[str, str]:
    """Settings by which `caller` may publish and read, and the services may what they need."""
    known = {
        "caller": ["topics:*", "streams:read", "subscriptions:*"],
        "services": ["publications:write", "streams:*", "topics:*", "workflows:*"],
    }
    rows = [{"token": name, "subject": name, "scopes": scopes} for name, scopes in known.items()]
    (folder / "tokens.json").write_text(json.dumps(rows))
    (folder / "token").write_text("services")
    return {
        "NERV_AUTH__TOKENS_FILE": str(folder / "tokens.json"),
        "NERV_CLIENT__TOKEN_FILE": str(folder / "token"),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two brokers that check tokens."""
    folder = tmp_path_factory.mktemp("replicas")
    async with LocalMesh(
        app="ledger:app",
        services=["temporal", "broker"],
        replicas={"broker": 2},
        folder=folder / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "LEDGER_TOPICS": PREFIX, **tokens(folder)},
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(pair: LocalMesh) -> AsyncIterator[tuple[Client, Client]]:
    """A client of each broker."""
    urls = [{"temporal": pair.url("temporal"), "broker": pair.url(name)} for name in ("broker", "broker-2")]
    async with Client(urls[0], token="caller") as one, Client(urls[1], token="caller") as two:  # noqa: S106 - no secret
        yield one, two


async def test_a_group_made_by_one_replica_is_never_denied_by_another(clients: tuple[Client, Client]) -> None:
    """It is asked for there as soon as it was made here."""
    for number in range(10):
        name = f"denied-{number}"
        await clients[0].subscriptions.make(name, {"topic": f"{PREFIX}.notice.v1", "from": "latest"})
        assert await clients[1].subscriptions.fetch(name, "m", 1, wait=0) == []
        await clients[0].subscriptions.delete(name)


async def test_replicas_restarted_one_after_the_other_lose_and_repeat_nothing(
    pair: LocalMesh, clients: tuple[Client, Client]
) -> None:
    """Each is ended by SIGTERM and started again, while events are published by the other and members of a group work.

    What the owner of a key had is handed over, so that each event is published once; so are the partitions of the group: each
    event is handled once, those of an account in order, and the lag is 0 in the end.
    """
    topic, name, handled, published = f"{PREFIX}.notice.v1", "rolling", list[int](), 0
    await clients[0].subscriptions.make(name, {"topic": topic, "from": "earliest"})
    stop = asyncio.Event()

    async def work(client: Client) -> None:
        while not stop.is_set():
            with suppress(Unavailable, UnknownOutcome):  # the replica that is being restarted
                found = await client.subscriptions.fetch(name, f"m{id(client)}", 20, wait=0.2)
                handled.extend(json.loads(one.event.data)["amount"] for one in found)
                await client.subscriptions.conclude(name, [Verdict(one.token) for one in found])

    members = [asyncio.create_task(work(client)) for client in clients]
    for replica, other in (("broker-2", clients[0]), ("broker", clients[1])):
        restarting = asyncio.create_task(pair.restart(replica))
        while not restarting.done():
            events = [deposit(n, "account.noticed.v1") for n in range(published, published + 10)]
            published += len(await other.topics.publish(topic, events))
        await restarting
    async with asyncio.timeout(60):
        while len(set(handled)) < published:  # noqa: ASYNC110 - members are plain loops
            await asyncio.sleep(0.05)
        while (await clients[0].subscriptions.show(name))["lag"]:  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*members)
    first = list(dict.fromkeys(handled))
    for account in range(8):
        assert [n for n in first if n % 8 == account] == list(range(account, published, 8))
    log = [
        json.loads(one.event.data)["amount"] async for one in clients[0].topics.consume(topic, "earliest", to="latest")
    ]
    assert sorted(log) == list(range(published))


async def test_a_replica_takes_over_what_the_killed_one_had(pair: LocalMesh, clients: tuple[Client, Client]) -> None:
    """Events published through both, one killed in the middle: each account has its deposits once and in order.

    Tokens are checked, so that one hands over to the other in its own name; whoever publishes cannot hand over himself.
    """
    (one, two), events = clients, [deposit(number) for number in range(800)]
    with pytest.raises(Forbidden, match="publications:write"):
        await one.transport.request("broker", "POST", "/v1/publications", body=b"")
    for start in range(0, 800, 100):
        await (one, two)[start // 100 % 2].topics.publish(f"{PREFIX}.account.v1", events[start : start + 100])
        if start == 300:
            await pair.kill("broker-2")
            two = one
    async with asyncio.timeout(60):
        while len([e async for e in one.streams.read_category("account")]) < 800:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for account in range(8):
        found = [json.loads(e.data)["amount"] async for e in one.streams.read(f"account-r{account}")]
        assert found == [number for number in range(800) if number % 8 == account]
