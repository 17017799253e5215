# SPDX-License-Identifier: Apache-2.0
"""Three replicas: each owns its share, and all of them can be restarted, one after the other, without anybody noticing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.protocols import Appended, AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv.types import Event, new_event_id
from tests.integration.temporal.ledger import ledger_mesh

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
REPLICAS = ("temporal", "temporal-2", "temporal-3")
PARTITIONS = 4


@pytest_asyncio.fixture
async def mesh(kafka: str, redis_url: str, tmp_path: Path) -> AsyncIterator[LocalMesh]:
    """Three replicas of temporal."""
    async with ledger_mesh(tmp_path, kafka, redis_url, replicas=len(REPLICAS)) as running:
        yield running


async def shares(mesh: LocalMesh, names: tuple[str, ...]) -> list[int]:
    """How many partitions each of these owns, once every partition has one owner that serves."""
    async with asyncio.timeout(60):
        while True:
            owned: Counter[str] = Counter()
            for name in names:
                async with Client({"temporal": mesh.url(name)}) as client:
                    owned[name] = len((await client.about("temporal"))["owns"])
            if owned.total() == PARTITIONS:
                return sorted(owned.values())
            await asyncio.sleep(0.05)


async def test_ownership_spreads_evenly(mesh: LocalMesh) -> None:
    """Shares of three, of the two that are left, and of three again differ by one partition at most."""
    assert await shares(mesh, REPLICAS) == [1, 1, 2]
    await mesh.kill("temporal-2")
    assert await shares(mesh, ("temporal", "temporal-3")) == [2, 2]
    await mesh.restart("temporal-2")
    assert await shares(mesh, REPLICAS) == [1, 1, 2]


async def test_a_rolling_restart_under_load_refuses_nothing(mesh: LocalMesh) -> None:
    """Every replica is restarted in turn under writers that expect exact versions: each append is done, and is there."""
    stop = asyncio.Event()
    done: dict[str, list[str]] = {f"account-{n}": [] for n in range(9)}

    async def write(client: Client, stream: str) -> None:
        while not stop.is_set():
            event = Event(new_event_id(), "test", "account.deposited.v1", NOON, b'{"account":"a","amount":1}')
            request = AppendRequest(stream, [event], Expected(Expect.EXACT, len(done[stream])))
            [outcome] = await client.streams.append([request])
            assert isinstance(outcome, Appended), outcome
            done[stream].append(event.id)

    async def written(count: int) -> None:
        async with asyncio.timeout(60):
            while sum(map(len, done.values())) < count:  # noqa: ASYNC110 - the writers are plain loops
                await asyncio.sleep(0.02)

    async with (
        Client({"temporal": mesh.url(REPLICAS[0])}) as one,
        Client({"temporal": mesh.url(REPLICAS[1])}) as two,
        Client({"temporal": mesh.url(REPLICAS[2])}) as three,
    ):
        clients = (one, two, three)
        async with asyncio.TaskGroup() as group:
            for number, stream in enumerate(done):
                group.create_task(write(clients[number % len(clients)], stream))
            for name in REPLICAS:
                await written(sum(map(len, done.values())) + 100)
                await mesh.restart(name)
            await written(sum(map(len, done.values())) + 100)
            stop.set()
        for client in clients:
            for stream, ids in done.items():
                assert [event.id async for event in client.streams.read(stream)] == ids
