# SPDX-License-Identifier: Apache-2.0
"""Replicas are killed and Redis is wiped while runs go on: every run ends right, every effect is there once."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NotFound
from nerv.redis import RedisSettings, connect

APPS = Path(__file__).parent.parent.parent / "apps"
PATIENCE = 90.0
LEASE = 2.0
ROOM = 16
REPLICAS = ("scheduler", "scheduler-2")


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two replicas of the scheduler with a short lease, and temporal. Each test leaves both replicas running."""
    async with LocalMesh(
        app="work:app",
        services=["temporal", "scheduler"],
        replicas={"scheduler": 2},
        folder=tmp_path_factory.mktemp("faults") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={"PYTHONPATH": str(APPS), "NERV_SCHEDULER__LEASE_SECONDS": str(LEASE)},
    ) as running:
        yield running


async def noted(client: Client, name: str) -> list[bytes]:
    """The data of the notes of a run."""
    try:
        return [event.data async for event in client.streams.read(f"note-{name}")]
    except NotFound:
        return []


def pids(folder: Path) -> list[int]:
    """The processes in which gated tasks have begun."""
    files = folder.glob("task*.calls")
    return [int(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes make it true
            await asyncio.sleep(0.05)


async def many(client: Client, run: str, goal: int) -> int:
    """How many notes a run has, once it has `goal`."""
    async with asyncio.timeout(PATIENCE):
        while (found := len(await noted(client, run))) < goal:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.01)
    return found


async def begun(mesh: LocalMesh, client: Client, folder: Path) -> str:
    """A run of more tasks than there is room for; both replicas are full of them."""
    run = uuid.uuid4().hex
    await client.workflows.start("gated", {"folder": str(folder), "count": 40}, run=run)
    await until(lambda: all(pids(folder).count(mesh.pid(name) or 0) == ROOM for name in REPLICAS))
    return run


async def test_the_work_of_a_killed_replica_is_done_by_the_other(
    mesh: LocalMesh, client: Client, tmp_path: Path
) -> None:
    """kill -9 in mid-task: the other replica takes the tasks over, the run ends, every effect is there once."""
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    run = await begun(mesh, client, folder)
    killed = mesh.pid("scheduler-2")
    held = pids(folder).count(killed or 0)
    assert held == ROOM
    await mesh.kill("scheduler-2")
    (folder / "open").touch()
    done = await client.workflows.wait(run, PATIENCE)
    assert done["status"] == "completed"
    assert done["result"] == [f"task{i}" for i in range(40)]
    assert {node["worker"] for node in done["nodes"]} <= {"scheduler", "scheduler-2"}
    assert sum(node["attempt"] == 2 for node in done["nodes"]) == held
    assert len(await noted(client, folder.name)) == 40
    await mesh.restart("scheduler-2")


async def test_a_stopped_replica_hands_its_work_over(mesh: LocalMesh, client: Client, tmp_path: Path) -> None:
    """SIGTERM in mid-task: it ends in time, or it would log that it was late, and its tasks are another's at once."""
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    run = await begun(mesh, client, folder)
    await mesh.restart("scheduler-2")
    (folder / "open").touch()
    done = await client.workflows.wait(run, PATIENCE)
    assert (done["status"], len(await noted(client, folder.name))) == ("completed", 40)
    log = (mesh.logs / "scheduler-2.log").read_text(encoding="utf-8")
    assert "work.given_back" in log
    assert "stop.late" not in log


async def test_runs_survive_a_wiped_redis(mesh: LocalMesh, client: Client, redis_url: str) -> None:
    """All keys of the mesh are deleted in the midst of each of three runs: they are rebuilt from history and end right."""
    redis = connect(RedisSettings(url=redis_url), "test")
    runs = [uuid.uuid4().hex for _ in range(3)]
    for run in runs:
        await client.workflows.start("noted", {"name": run, "count": 200, "seconds": 0.5}, run=run)
        assert await many(client, run, 20) < 200, "nothing was running when Redis was wiped"
        keys = [key async for key in redis.scan_iter(f"{mesh.mesh}:*")]
        await redis.unlink(*keys)
    await redis.aclose()
    for run in runs:
        done = await client.workflows.wait(run, PATIENCE)
        assert (done["status"], done["result"]) == ("completed", sum(range(200)))
        notes = await noted(client, run)
        assert len(notes) == len(set(notes)) == 200


async def test_every_effect_is_there_once_whatever_dies(mesh: LocalMesh, client: Client) -> None:
    """A replica is killed in the midst of each of three runs: every task's note is there exactly once."""
    runs = [uuid.uuid4().hex for _ in range(3)]
    for run, name in zip(runs, ("scheduler-2", "scheduler", "scheduler-2"), strict=True):
        await client.workflows.start("noted", {"name": run, "count": 200, "seconds": 0.5}, run=run)
        assert await many(client, run, 20) < 200, "nothing was running when the replica was killed"
        await mesh.kill(name)
        await mesh.restart(name)
    for run in runs:
        done = await client.workflows.wait(run, PATIENCE)
        assert (done["status"], done["result"]) == ("completed", sum(range(200)))
        notes = await noted(client, run)
        assert len(notes) == len(set(notes)) == 200


async def test_a_frozen_replica_does_not_disturb(mesh: LocalMesh, client: Client, tmp_path: Path) -> None:
    """SIGSTOP for longer than the lease: others finish its tasks; woken, it writes nothing and works again."""
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    run = await begun(mesh, client, folder)
    pid = mesh.pid("scheduler-2")
    assert pid is not None
    os.kill(pid, 19)
    try:
        (folder / "open").touch()
        done = await client.workflows.wait(run, PATIENCE)
    finally:
        os.kill(pid, 18)
    assert done["status"] == "completed"
    again = await client.workflows.start("noted", {"name": f"again-{run}", "count": 40})
    assert (await client.workflows.wait(again["run"], PATIENCE))["status"] == "completed"
    assert len(await noted(client, folder.name)) == 40
