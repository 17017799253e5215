# SPDX-License-Identifier: Apache-2.0
"""Runs that wait, on real Kafka and Redis: nothing that they wait for is lost, whatever is wiped or dies meanwhile."""

import asyncio
import json
import os
import sys
import uuid
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NotFound
from nerv.redis import RedisSettings, connect
from nerv.types import Event, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
PATIENCE = 60.0
NERV = Path(sys.executable).with_name("nerv")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two replicas of the scheduler with a short lease, and what they work with."""
    async with LocalMesh(
        app="waiting:app",
        services=["temporal", "broker", "scheduler"],
        replicas={"scheduler": 2},
        folder=tmp_path_factory.mktemp("waiting") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "NERV_SCHEDULER__LEASE_SECONDS": "2"},
    ) as running:
        yield running


async def pay(client: Client, *orders: str) -> None:
    """Publish the payments of some orders."""
    now = datetime.now(UTC)
    events = [
        Event(
            new_event_id(),
            "test",
            "payment.made.v1",
            now,
            json.dumps({"order": order, "amount": 7}).encode(),
            partition_key=order,
        )
        for order in orders
    ]
    await client.topics.publish("waiting.payment.v1", events)


async def waiting(client: Client, run: str, *nodes: str) -> None:
    """Return when these nodes of a run sleep."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = {node["node"]: node["status"] for node in (await client.workflows.show(run))["nodes"]}
            if all(found[node] == "sleeping" for node in nodes):
                return
            await asyncio.sleep(0.05)


async def wipe(mesh: LocalMesh, redis_url: str) -> None:
    """Delete all that the mesh has in Redis."""
    redis = connect(RedisSettings(url=redis_url), "test")
    await redis.unlink(*[key async for key in redis.scan_iter(f"{mesh.mesh}:*")])
    await redis.aclose()


async def shipped(client: Client, order: str) -> list[int]:
    """The parts that were shipped."""
    try:
        return [json.loads(event.data)["part"] async for event in client.streams.read(f"shipped-{order}")]
    except NotFound:
        return []


async def test_runs_wait_for_payments_and_people_whatever_is_wiped_or_dies(
    mesh: LocalMesh, client: Client, redis_url: str
) -> None:
    """Redis is wiped and a replica is killed while twelve runs wait; some payments come before their wait, some signals too."""
    orders = [uuid.uuid4().hex for _ in range(12)]
    for order in orders:
        await client.workflows.start("order", {"name": order}, run=order)
    await client.workflows.signal(orders[0], "approved", "early")
    await pay(client, *orders[:4])
    for order in orders[4:]:
        await waiting(client, order, "payment.made.v1")
    await wipe(mesh, redis_url)
    await pay(client, *orders[4:8])
    await mesh.kill("scheduler-2")
    await pay(client, *orders[8:])
    for order in orders[1:]:
        await waiting(client, order, "approved")
    await wipe(mesh, redis_url)
    for order in orders[1:]:
        await client.workflows.signal(order, "approved", "late", signal="once")
        await client.workflows.signal(order, "approved", "late", signal="once")
    for order in orders:
        done = await client.workflows.wait(order, PATIENCE)
        by = "early" if order == orders[0] else "late"
        assert (done["status"], done["result"]) == ("completed", f"3 parts for 7, approved by {by}"), done
        assert sorted(await shipped(client, order)) == [0, 1, 2]
    await mesh.restart("scheduler-2")


async def test_a_payment_is_matched_once_and_its_match_is_recorded(client: Client) -> None:
    """Two payments of one order: the first counts; of another order, none does."""
    order = uuid.uuid4().hex
    await client.workflows.start("order", {"name": order, "count": 0, "seconds": 0}, run=order)
    await pay(client, uuid.uuid4().hex, order, order)
    done = await client.workflows.wait(order, PATIENCE)
    assert done["result"] == "0 parts for 7, approved by None"
    assert {node["node"]: node["status"] for node in done["nodes"]}["approved"] == "skipped"
    kinds = [event.type async for event in client.streams.read(f"run-{order}")]
    assert kinds.count("nerv.event.received.v1") == 1


async def test_a_sleep_is_over_in_time_and_a_deadline_holds(mesh: LocalMesh, client: Client, redis_url: str) -> None:
    """Both are known to history: a wiped Redis changes neither."""
    nap = await client.workflows.start("napping", {"seconds": 2.0})
    hurried = await client.workflows.start("hurried")
    await waiting(client, nap["run"], "sleep")
    await wipe(mesh, redis_url)
    done = await client.workflows.wait(nap["run"], PATIENCE)
    assert done["status"] == "completed"
    assert done["elapsed_seconds"] >= 2
    late = await client.workflows.wait(hurried["run"], PATIENCE)
    assert (late["status"], late["error"][:23]) == ("failed", "its deadline of 1 s pas")


async def test_a_run_is_signalled_from_the_command_line(mesh: LocalMesh, client: Client) -> None:
    """`nerv workflow signal` tells what became of it; what cannot be is refused, and the exit code says so."""
    order = uuid.uuid4().hex
    await client.workflows.start("order", {"name": order, "seconds": 0}, run=order)
    code, said = await typed(mesh, "signal", order, "approved", '"me"', "--id", "s1")
    assert (code, said["signal"], said["id"], said["status"]) == (0, "approved", "s1", "running")
    assert (await typed(mesh, "signal", order, "approved", '"me"', "--id", "s1"))[0] == 0
    assert (await typed(mesh, "signal", order, "approved", '"you"', "--id", "s1"))[0] == 1
    assert (await typed(mesh, "signal", order, "approved", "{"))[0] == 2
    await pay(client, order)
    assert (await client.workflows.wait(order, PATIENCE))["result"] == "3 parts for 7, approved by me"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"signal": 7}', 400),
        (b'{"signal": "approved", "payload": null}', 400),
        (b'{"signal": "approved", "id": ":x"}', 400),
        (b'{"signal": "approved", "more": 1}', 400),
        (b'{"signal": "aproved"}', 404),
        (b'{"signal": "approved"}', 409),
    ],
)
async def test_signals_that_cannot_be_are_refused(mesh: LocalMesh, client: Client, body: bytes, status: int) -> None:
    """With a problem document that says what to do."""
    run = "refusing"
    await client.workflows.start("order", {"name": run, "count": 0, "seconds": 0}, run=run)
    await pay(client, run)
    await client.workflows.wait(run, PATIENCE)
    async with (
        aiohttp.ClientSession(mesh.url("scheduler")) as http,
        http.post(f"/v1/runs/{run}/signals", data=body) as answer,
    ):
        assert (answer.status, answer.content_type) == (status, "application/problem+json"), await answer.text()


async def test_a_schedule_starts_each_run_once_and_is_paused(mesh: LocalMesh, client: Client) -> None:
    """Two replicas follow it: every tick is recorded once and has one run; paused, it starts none; it says when it ticks next."""
    async with asyncio.timeout(PATIENCE):
        while len(await client.workflows.runs("counting")) < 3:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.1)
    code, said = await typed(mesh, "pause", "often", group="schedule")
    assert (code, said["status"], said["next"]) == (0, "paused", None)
    assert (await typed(mesh, "pause", "often", group="schedule"))[0] == 0
    events = [event async for event in client.streams.read("schedule-often")]
    assert [event.type.split(".")[2] for event in (events[0], events[-1])] == ["declared", "paused"]
    ticks = [json.loads(event.data)["at"] for event in events if event.type == "nerv.schedule.ticked.v1"]
    assert len(set(ticks)) == len(ticks)
    wanted = sorted(f"often-{tick.replace('+00:00', 'Z')}" for tick in ticks)
    async with asyncio.timeout(PATIENCE):
        # The last tick is recorded before its run is started.
        while (runs := sorted(row["run"] for row in await client.workflows.runs("counting", limit=100))) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    rows = {row["schedule"]: row for row in (await typed(mesh, "list", group="schedule"))[1]}
    assert (rows["often"]["became"], rows["often"]["run"]) == ("started", max(runs))
    assert rows["nightly"]["ticks"] == "30 2 * * * Europe/Berlin"
    code, upcoming = await typed(mesh, "next", "nightly", "--count", "2", group="schedule")
    assert (code, [row["local"][11:16] for row in upcoming]) == (0, ["02:30", "02:30"])
    assert (await typed(mesh, "resume", "often", group="schedule"))[1]["status"] == "active"
    assert (await typed(mesh, "pause", "never", group="schedule"))[0] == 1


async def test_a_run_is_replayed_from_the_command_line(mesh: LocalMesh, client: Client) -> None:
    """By the code that it was started with nothing is decided otherwise."""
    run = (await client.workflows.start("napping", {"seconds": 0.1}))["run"]
    await client.workflows.wait(run, PATIENCE)
    code, said = await typed(mesh, "replay", run)
    assert (code, said["same"], said["differences"], said["changed_code"]) == (0, True, [], [])
    assert said["decisions"] > 3
    assert (await typed(mesh, "replay", "nobody"))[0] == 1


async def typed(mesh: LocalMesh, *words: str, group: str = "workflow") -> tuple[int, Any]:
    """Exit code and JSON of `nerv workflow ...`."""
    urls = {f"NERV_SERVICES__{name.upper()}": mesh.url(name) for name in ("scheduler", "temporal")}
    process = await asyncio.create_subprocess_exec(
        NERV, group, *words, "--json", env=os.environ | urls, stdout=PIPE, stderr=PIPE
    )
    output, _ = await process.communicate()
    return process.returncode or 0, json.loads(output or b"{}")
