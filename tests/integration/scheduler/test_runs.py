# SPDX-License-Identifier: Apache-2.0
"""Workflows over HTTP, on a real Redis and a real temporal, run by two replicas of the scheduler."""

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
from nerv.errors import IdConflict, Invalid, NotFound, Unavailable
from nerv.protocols import AppendRequest
from nerv.redis import RedisSettings, connect
from nerv.types import Event, new_event_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPS = Path(__file__).parent.parent.parent / "apps"
PATIENCE = 60.0
NERV = Path(sys.executable).with_name("nerv")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(kafka: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    """Two replicas of the scheduler, and what they work with."""
    async with LocalMesh(
        app="work:app",
        services=["temporal", "broker", "scheduler"],
        replicas={"scheduler": 2},
        folder=tmp_path_factory.mktemp("scheduler") / ".nerv",
        mesh=f"t{uuid.uuid4().hex[:8]}",
        kafka=kafka,
        redis=redis_url,
        env={
            "PYTHONPATH": str(APPS),
            "NERV_SCHEDULER__RETRY_FIRST_SECONDS": "0.1",
            "NERV_SCHEDULER__RESULT_BYTES": "200000",
            "NERV_SCHEDULER__RESULTS": f"file://{tmp_path_factory.mktemp('results')}",
        },
    ) as running:
        yield running


async def run(client: Client, workflow: str, **run_input: Any) -> dict[str, Any]:
    """A run, once it has ended."""
    started = await client.workflows.start(workflow, run_input)
    return await client.workflows.wait(started["run"], PATIENCE)


async def test_a_large_result_is_shown_by_its_address(client: Client) -> None:
    """It is in the store of the settings, whole; the run without its nodes has it, too."""
    done = await run(client, "bulky", size=100_000)
    assert (done["result"], done["stored"]["bytes"]) == (None, 100_002)
    assert done["nodes"][0]["stored"] == done["stored"]
    stored = await asyncio.to_thread(Path(done["stored"]["url"].removeprefix("file://")).read_bytes)
    assert stored == b'"' + b"x" * 100_000 + b'"'
    brief = await client.workflows.wait(done["run"], PATIENCE, nodes=False)
    assert brief["stored"] == done["stored"]
    assert not {"nodes", "maps", "critical_path"} & set(brief)


def calls(folder: Path, name: str) -> int:
    """How often a task was called."""
    path = folder / f"{name}.calls"
    return len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0


async def test_a_fan_out_and_its_join_give_their_result(client: Client) -> None:
    """Every task once, in the order drawn, and the result of the last."""
    done = await run(client, "doubled", count=5)
    assert (done["status"], done["result"], done["error"]) == ("completed", 20, None)
    assert [node["node"] for node in done["nodes"]] == [*(f"double[{i}]" for i in range(5)), "total"]
    assert [node["result"] for node in done["nodes"]] == [0, 2, 4, 6, 8, 20]
    assert {node["attempt"] for node in done["nodes"]} == {1}
    assert done["started"] < done["ended"]
    assert (done["critical_path"][-1], len(done["critical_path"])) == ("total", 2)
    assert all(node["queued_seconds"] >= 0 and node["ran_seconds"] >= 0 for node in done["nodes"])


async def test_a_task_is_given_a_component_of_the_app(client: Client) -> None:
    """Which the scheduler has started before its worker."""
    done = await run(client, "exchanged", number=14)
    assert (done["status"], done["result"]) == ("completed", 42)


async def test_two_replicas_share_the_work(client: Client) -> None:
    """Of many tasks each replica does some, and each task's effect is there once; on a busy machine after some runs."""
    workers: set[str] = set()
    async with asyncio.timeout(PATIENCE):
        while workers != {"scheduler", "scheduler-2"}:
            name = uuid.uuid4().hex
            done = await run(client, "noted", name=name, count=80)
            assert done["result"] == sum(range(80))
            workers |= {node["worker"] for node in done["nodes"]}
            noted = [event.data async for event in client.streams.read(f"note-{name}")]
            assert len(noted) == len(set(noted)) == 80


async def test_a_task_is_retried_until_it_works(client: Client, tmp_path: Path) -> None:
    """Two failures, then success: three calls, three attempts."""
    done = await run(client, "flaky", folder=str(tmp_path), failures=2)
    assert (done["status"], done["result"], calls(tmp_path, "flaky")) == ("completed", 2, 3)
    assert done["nodes"][0]["attempt"] == 3
    kinds = [event.type async for event in client.streams.read(f"run-{done['run']}")]
    assert kinds.count("nerv.task.failed.v1") == 2


async def test_a_permanent_failure_is_not_retried_and_fails_the_run(client: Client, tmp_path: Path) -> None:
    """One call; what waits for it never runs; the run says which task failed and why."""
    done = await run(client, "hopeless", folder=str(tmp_path))
    assert (done["status"], done["error"]) == ("failed", "hopeless: PermanentError: never")
    assert calls(tmp_path, "hopeless") == 1
    assert {n["node"]: n["status"] for n in done["nodes"] if n["task"] != "double"} == {
        "hopeless": "failed",
        "total": "waiting",
    }


async def test_a_task_that_takes_too_long_fails(client: Client) -> None:
    """Its time-out is its error."""
    done = await run(client, "endless")
    assert (done["status"], done["error"]) == ("failed", "endless: TimeoutError: task endless took longer than 0.3 s")


async def test_a_result_that_is_over_the_limit_fails(client: Client) -> None:
    """And says what the limit is; without a store it is that of an event."""
    done = await run(client, "large")
    assert done["status"] == "failed"
    assert "at most 200000 bytes (NERV_SCHEDULER__RESULT_BYTES)" in done["error"]


async def test_a_task_may_use_the_client(client: Client) -> None:
    """It is handed in where a parameter is annotated with it."""
    stream = f"thing-{uuid.uuid4().hex}"
    event = Event(new_event_id(), "test", "thing.noted.v1", datetime(2013, 1, 1, tzinfo=UTC), b"{}")
    await client.streams.append([AppendRequest(stream, [event])])
    assert (await run(client, "asked", stream=stream))["result"] == 1


async def test_a_result_is_published(client: Client) -> None:
    """An effect's event is on its topic under the effect's id, keyed, and part of the run."""
    name = uuid.uuid4().hex
    done = await run(client, "announced", name=name)
    async with asyncio.timeout(PATIENCE):
        async for consumed in client.topics.consume("work.sum.v1", "earliest"):
            event = consumed.event
            if event.correlation_id == done["run"]:
                break
    assert (event.type, event.source, event.partition_key) == ("sum.made.v1", "work", name)
    assert json.loads(event.data) == {"name": name, "total": 7}
    kinds = {e.type: json.loads(e.data) async for e in client.streams.read(f"run-{done['run']}")}
    assert [effect["id"] for effect in kinds["nerv.task.completed.v1"]["effects"]] == [event.id]
    assert "nerv.task.effects-done.v1" in kinds


async def test_a_run_is_started_once(client: Client, mesh: LocalMesh) -> None:
    """Same id and input again, at any replica and after its end: the same run. Anything else under the id: 409."""
    name = uuid.uuid4().hex
    first = await client.workflows.start("noted", {"name": name, "count": 3}, run=name)
    assert (first["duplicate"], first["run"]) == (False, name)
    async with Client({"scheduler": mesh.url("scheduler-2")}) as other:
        assert (await other.workflows.start("noted", {"name": name, "count": 3}, run=name))["duplicate"]
    await client.workflows.wait(name, PATIENCE)
    again = await client.workflows.start("noted", {"name": name, "count": 3}, run=name)
    assert (again["duplicate"], again["status"]) == (True, "completed")
    for workflow, run_input in (("noted", {"name": name, "count": 4}), ("doubled", {})):
        with pytest.raises(IdConflict):
            await client.workflows.start(workflow, run_input, run=name)
    assert len([e async for e in client.streams.read(f"note-{name}")]) == 3


async def test_the_idempotency_key_is_the_run(mesh: LocalMesh) -> None:
    """The header names the run; two names that differ are refused."""
    key = uuid.uuid4().hex
    async with aiohttp.ClientSession(mesh.url("scheduler")) as http:
        path, headers = "/v1/workflows/doubled/runs", {"Idempotency-Key": key}
        async with http.post(path, headers=headers) as answer:
            assert (answer.status, answer.headers["location"]) == (202, f"/v1/runs/{key}")
        async with http.post(path, headers=headers, json={"run": "other"}) as answer:
            assert answer.status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[1]", 400),
        (b"{", 400),
        (b'{"input": [1]}', 400),
        (b'{"inputs": {}}', 400),
        (b'{"input": {"cuont": 1}}', 400),
        (b'{"input": {"count": "x"}}', 400),
        (b'{"run": ""}', 400),
        (b'{"run": 7}', 400),
        (b'{"run": "' + b"x" * 201 + b'"}', 400),
        (b'{"input": {"count": 10001}}', 413),
        (b'{"input": {"count": ' + b"[" * 40 + b"]" * 40 + b"}}", 413),
    ],
)
async def test_what_cannot_be_run_is_refused(mesh: LocalMesh, body: bytes, status: int) -> None:
    """With a problem document, and nothing is started."""
    async with (
        aiohttp.ClientSession(mesh.url("scheduler")) as http,
        http.post("/v1/workflows/doubled/runs", data=body) as answer,
    ):
        assert (answer.status, answer.content_type) == (status, "application/problem+json"), await answer.text()


async def test_unknown_workflows_and_runs_are_not_found(client: Client) -> None:
    """404 for each, by every way to ask."""
    with pytest.raises(NotFound):
        await client.workflows.start("nobody")
    with pytest.raises(NotFound):
        await client.workflows.show("nobody")
    with pytest.raises(NotFound):
        await client.workflows.wait("nobody", 5)
    with pytest.raises(NotFound):
        await client.workflows.runs("nobody")
    with pytest.raises(Invalid):
        await client.workflows.show("x\ny")


async def test_workflows_and_their_runs_are_listed(client: Client) -> None:
    """Every workflow of the app, and the latest run first."""
    assert "doubled" in [row["workflow"] for row in await client.workflows.list()]
    ids = [(await run(client, "doubled", count=n))["run"] for n in (1, 2)]
    rows = await client.workflows.runs("doubled", limit=2)
    assert [(row["run"], row["status"]) for row in rows] == [(ids[1], "completed"), (ids[0], "completed")]
    other = (await run(client, "noted", name="latest", count=1))["run"]
    assert [row["run"] for row in await client.workflows.latest(2)] == [other, ids[1]]


async def test_waiting_ends_with_its_time(client: Client, tmp_path: Path) -> None:
    """A run that goes on longer is not an error of the run: Unavailable, and it can be waited for again."""
    started = await client.workflows.start("gated", {"folder": str(tmp_path), "count": 1})
    with pytest.raises(Unavailable, match="still runs"):
        await client.workflows.wait(started["run"], 0.5)
    (tmp_path / "open").touch()
    assert (await client.workflows.wait(started["run"], PATIENCE))["result"] == ["task0"]


async def test_an_ended_run_is_read_from_history(client: Client, mesh: LocalMesh, redis_url: str) -> None:
    """When Redis no longer has it, everything that matters is answered as before."""
    before = await run(client, "doubled", count=2)
    redis = connect(RedisSettings(url=redis_url), "test")
    await redis.unlink(f"{mesh.mesh}:run:{before['run']}")
    await redis.aclose()
    after = await client.workflows.show(before["run"])
    kept = ("run", "workflow", "status", "result", "error")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert [(n["node"], n["status"], n["result"]) for n in after["nodes"]] == [
        (n["node"], n["status"], n["result"]) for n in before["nodes"]
    ]


async def test_a_run_is_steered_from_the_command_line(
    mesh: LocalMesh, client: Client, tmp_path: Path, redis_url: str
) -> None:
    """Paused (also over a wiped Redis), resumed, cancelled, and restarted from where it was; exit codes and JSON tell."""
    run = uuid.uuid4().hex
    await client.workflows.start("gated", {"folder": str(tmp_path), "count": 40}, run=run)
    await reaches(client, run, "running", 32)
    code, said = await nerv(mesh, "pause", run, "--reason", "a moment")
    assert (code, said["run"], said["order"], said["status"]) == (0, run, "pause", "paused")
    redis = connect(RedisSettings(url=redis_url), "test")
    await redis.unlink(*[key async for key in redis.scan_iter(f"{mesh.mesh}:*")])
    await redis.aclose()
    await reaches(client, run, "held", 40)
    assert (await client.workflows.show(run))["status"] == "paused"
    assert (await nerv(mesh, "resume", run))[1]["status"] == "running"
    code, said = await nerv(mesh, "cancel", run, "--order", "stop")
    assert (code, said["id"], said["status"]) == (0, "stop", "cancelling")
    done = await client.workflows.wait(run, PATIENCE)
    assert (done["status"], done["error"]) == ("cancelled", "cancelled")
    assert (await nerv(mesh, "cancel", run, "--order", "stop"))[0] == 0
    assert (await nerv(mesh, "cancel", run))[0] == 1
    (tmp_path / "open").touch()
    assert (await nerv(mesh, "restart", run))[1]["status"] == "running"
    done = await client.workflows.wait(run, PATIENCE)
    assert (done["status"], done["result"]) == ("completed", [f"task{i}" for i in range(40)])
    kinds = [event.type async for event in client.streams.read(f"run-{run}")]
    ends = [kind.removeprefix("nerv.run.").removesuffix(".v1") for kind in kinds if kind.startswith("nerv.run.")]
    assert ends == ["submitted", "paused", "resumed", "cancel-ordered", "cancelled", "restarted", "completed"]


async def test_a_run_is_looked_at_from_the_command_line(mesh: LocalMesh, client: Client) -> None:
    """`list`, `gantt` and `tail` tell of a run what happened, for machines and for people."""
    done = await run(client, "doubled", count=3)
    code, rows = await nerv(mesh, "list", "doubled")
    assert (code, done["run"] in [row["run"] for row in rows]) == (0, True)
    code, told = await nerv(mesh, "gantt", done["run"])
    assert (code, told["critical_path"], told["nodes"]) == (0, done["critical_path"], done["nodes"])
    code, text = await typed(mesh, "gantt", done["run"])
    assert code == 0
    assert "double[2]" in text
    code, text = await typed(mesh, "tail", done["run"])
    assert code == 0
    kinds = [line.split()[1] for line in text.splitlines()]
    assert (kinds[0], kinds[-1]) == ("run.submitted", "run.completed")
    assert set(kinds[1:-1]) <= {"task.completed", "quantum.completed"}  # tasks that take no time are done together
    assert (await typed(mesh, "tail", "nobody"))[0] == 1


async def reaches(client: Client, run: str, status: str, goal: int) -> None:
    """Return when so many nodes of a run have a status."""
    async with asyncio.timeout(PATIENCE):
        while [n["status"] for n in (await client.workflows.show(run))["nodes"]].count(status) < goal:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def nerv(mesh: LocalMesh, *words: str) -> tuple[int, Any]:
    """Exit code and JSON of `nerv workflow ...`."""
    code, text = await typed(mesh, *words, "--json")
    return code, json.loads(text or "{}")


async def typed(mesh: LocalMesh, *words: str) -> tuple[int, str]:
    """Exit code and text of `nerv workflow ...`."""
    urls = {f"NERV_SERVICES__{name.upper()}": mesh.url(name) for name in ("scheduler", "temporal")}
    process = await asyncio.create_subprocess_exec(
        NERV, "workflow", *words, env=os.environ | urls, stdout=PIPE, stderr=PIPE
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"order": "burn"}', 400),
        (b'{"order": "pause", "steps": ["x"]}', 400),
        (b'{"order": "restart", "steps": "x"}', 400),
        (b'{"order": "restart", "steps": ["nowhere"]}', 404),
        (b'{"order": "restart"}', 409),
        (b'{"order": "pause", "id": ""}', 400),
        (b'{"order": "pause", "reason": "' + b"x" * 501 + b'"}', 400),
        (b'{"order": "pause"}', 409),
    ],
)
async def test_orders_that_cannot_be_are_refused(mesh: LocalMesh, client: Client, body: bytes, status: int) -> None:
    """With a problem document; a run that has completed stays as it is."""
    done = await run(client, "doubled", count=1)
    async with (
        aiohttp.ClientSession(mesh.url("scheduler")) as http,
        http.post(f"/v1/runs/{done['run']}/orders", data=body) as answer,
    ):
        assert (answer.status, answer.content_type) == (status, "application/problem+json"), await answer.text()
    assert await client.workflows.show(done["run"]) == done


async def test_the_service_describes_itself(client: Client) -> None:
    """`/.well-known/nerv` names workflows and tasks."""
    described = await client.about("scheduler")
    assert described["service"] == "scheduler"
    assert {"doubled", "noted"} <= set(described["hosts"]["workflows"])
