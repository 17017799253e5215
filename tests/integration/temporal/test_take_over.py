# SPDX-License-Identifier: Apache-2.0
"""When the owner dies, another replica takes over, and nothing that was acknowledged is lost or written twice."""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest_asyncio

from nerv.client import Client
from nerv.cloudevents import to_structured
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from nerv.protocols import Appended, AppendRequest
from nerv.types import Event, new_event_id
from tests.integration.temporal.ledger import ledger_mesh

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


@pytest_asyncio.fixture
async def mesh(kafka: str, redis_url: str, tmp_path: Path) -> AsyncIterator[LocalMesh]:
    """Two replicas of temporal."""
    async with ledger_mesh(tmp_path, kafka, redis_url, replicas=2, persist=True) as running:
        yield running


def deposit(number: int) -> Event[bytes]:
    """A deposit of `number`."""
    data = json.dumps({"account": "a", "amount": number}).encode()
    return Event(new_event_id(), "test", "account.deposited.v1", NOON, data)


async def test_the_survivor_goes_on_after_a_kill(mesh: LocalMesh) -> None:
    """Writers write while each replica in turn is killed and started again: every acknowledged event is there once."""
    acknowledged: dict[str, list[str]] = {f"account-{n}": [] for n in range(8)}
    unsure: set[str] = set()
    stop = asyncio.Event()

    async def write(client: Client, stream: str) -> None:
        while not stop.is_set():
            event = deposit(1)
            [outcome] = await client.streams.append([AppendRequest(stream, [event])], seconds=30.0)
            if isinstance(outcome, Appended):
                acknowledged[stream].append(event.id)
            else:
                assert isinstance(outcome, NervError)
                unsure.add(event.id)

    # The client knows the service by two addresses, as behind a load balancer: half of the writers use each.
    async with (
        Client({"temporal": mesh.url("temporal")}) as one,
        Client({"temporal": mesh.url("temporal-2")}) as two,
    ):
        writers = [asyncio.create_task(write((one, two)[n % 2], f"account-{n}")) for n in range(8)]
        for name in ("temporal", "temporal-2"):
            await _reach(acknowledged, sum(map(len, acknowledged.values())) + 200)
            await mesh.kill(name)
            await mesh.restart(name)
        await _reach(acknowledged, sum(map(len, acknowledged.values())) + 200)
        stop.set()
        await asyncio.gather(*writers)
        for stream, ids in acknowledged.items():
            found = [e.id async for e in one.streams.read(stream)]
            assert len(found) == len(set(found)), f"{stream} holds an event twice"
            assert set(ids) <= set(found), f"{stream} lost an acknowledged event"
            assert set(found) - set(ids) <= unsure, f"{stream} holds an event that nobody wrote"
            assert [i for i in found if i in set(ids)] == ids, f"{stream} is out of order"


async def test_a_replica_that_joins_turns_nobody_away(mesh: LocalMesh) -> None:
    """Partitions move to a replica that comes back while people write by plain HTTP, which repeats nothing."""
    await mesh.kill("temporal-2")
    statuses: Counter[int] = Counter()
    stop = asyncio.Event()

    async def write(http: aiohttp.ClientSession, stream: str) -> None:
        while not stop.is_set():
            body = to_structured(deposit(1)) | {"data": {"account": "a", "amount": 1}}
            headers = {"content-type": "application/cloudevents+json"}
            async with http.post(f"/v1/streams/{stream}/events", json=body, headers=headers) as answer:
                statuses[answer.status] += 1

    async with aiohttp.ClientSession(mesh.url("temporal")) as http:
        assert await _owned(http, 1.0) == {True}
        writers = [asyncio.create_task(write(http, f"account-{n}")) for n in range(8)]
        await mesh.restart("temporal-2")
        assert await _owned(http, 0.5) == {True, False}
        stop.set()
        await asyncio.gather(*writers)
    assert set(statuses) == {201}
    assert statuses[201] > 100


async def test_a_wiped_index_is_rebuilt_from_kafka(mesh: LocalMesh) -> None:
    """The index of one replica is deleted and that of the other damaged while they are down; the damaged one is set aside, and
    afterwards everything is there, ids included.
    """
    requests = [AppendRequest(f"account-{n % 7}", [deposit(n)]) for n in range(300)]
    async with Client({"temporal": mesh.url("temporal")}) as client:
        outcomes = await client.streams.append(requests)
        assert all(isinstance(o, Appended) for o in outcomes)
        before = [(e.subject, e.sequence, e.id, e.data) async for e in client.streams.read_category("account")]
        for name in ("temporal", "temporal-2"):
            await mesh.kill(name)
        deleted, damaged = (next(mesh.folder.rglob(f"{name}/index")) for name in ("temporal", "temporal-2"))
        shutil.rmtree(deleted)
        (damaged / "CURRENT").write_bytes(b"MANIFEST-nowhere\n")
        for name in ("temporal", "temporal-2"):
            await mesh.restart(name)
        again = await client.streams.append(requests)
        assert all(isinstance(o, Appended) and o.duplicate for o in again)
        after = [(e.subject, e.sequence, e.id, e.data) async for e in client.streams.read_category("account")]
    assert after == before
    assert len(after) == 300
    assert (damaged.with_name("index.broken") / "CURRENT").exists()


async def _owned(http: aiohttp.ClientSession, share: float) -> set[bool]:
    """Whether partitions are here, once this share of them is."""
    async with asyncio.timeout(60):
        while True:
            async with http.get("/v1/partitions") as answer:
                here = [row["here"] for row in (await answer.json())["partitions"]]
            if sum(here) == share * len(here):
                return set(here)
            await asyncio.sleep(0.05)


async def _reach(acknowledged: dict[str, list[str]], count: int) -> None:
    """Until so many appends are acknowledged."""
    async with asyncio.timeout(60):
        while sum(map(len, acknowledged.values())) < count:  # noqa: ASYNC110 - the writers are plain loops
            await asyncio.sleep(0.05)
