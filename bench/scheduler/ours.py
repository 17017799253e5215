# SPDX-License-Identifier: Apache-2.0
"""Ours: `WHAT KAFKA REDIS COUNT [SETTING=VALUE ...]`: figures of workflows on temporal and the scheduler, journal and all.

`wide`, `chain`, `fan`: tasks a second, from the request that starts the run to its recorded end.
`spins`, `rests`: tasks a second that compute or wait for 1 ms, side by side; `steps`: that wait for 1 ms, one after the other.
`skewed`: the seconds of an ideal division, and seconds on two replicas.
`waiting`: bytes of Redis that each of many waiting runs takes, and the share of a processor that they cost the scheduler.
`ready`: milliseconds from ready to started, half and 99 % of the tasks, at half load.
"""

import asyncio
import random
import statistics
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

import psutil

from bench.scheduler.hosting import hosted, quiet
from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.redis import RedisSettings, connect

MOST = 10_000  # tasks of a workflow
WAIT_SECONDS = 240.0
SLOTS = 4  # of each replica, where they must be few to be filled
STEPS, STEP_MS = 5, 20.0  # of the runs whose waiting is measured: longer than what is fused
WARM = 200
WARM_BURSTS = 8
STARTS = 64  # requests at once
IDLE_SECONDS = 5.0


async def finished(client: Client, workflow: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A run, from its start to its end. It must have completed."""
    run = uuid.uuid4().hex
    await client.workflows.start(workflow, given, run=run)
    ended = await client.workflows.wait(run, WAIT_SECONDS, nodes=False)
    assert ended["status"] == "completed", ended["error"]
    return ended


async def rate(client: Client, workflow: str, count: int) -> list[float]:
    """Tasks a second."""
    await finished(client, workflow, {"tasks": WARM})
    began = time.perf_counter()
    for at in range(0, count, MOST):
        await finished(client, workflow, {"tasks": min(MOST, count - at)})
    return [count / (time.perf_counter() - began)]


async def tiny(client: Client, workflow: str, count: int) -> list[float]:
    """Tasks of 1 ms a second."""

    def given(tasks: int) -> dict[str, Any]:
        return {"milliseconds": 1.0, "steps": tasks} if workflow == "steps" else {"milliseconds": [1.0] * tasks}

    await finished(client, workflow, given(WARM))
    began = time.perf_counter()
    await finished(client, workflow, given(count))
    return [count / (time.perf_counter() - began)]


async def skewed(client: Client, count: int) -> list[float]:
    """Seconds of an ideal division, and those it took: few tasks, which come one after the other, last eighty times as long.

    By then tasks are known to be short, and whoever comes first has taken many of the long ones.
    """
    long, short = 400.0, 5.0
    few, first = count // 20, count // 4
    tasks = [short] * first + [long] * few + [short] * (count - few - first)
    await finished(client, "rests", {"milliseconds": [short] * WARM})
    began = time.perf_counter()
    await finished(client, "rests", {"milliseconds": tasks})
    seconds = time.perf_counter() - began
    return [sum(tasks) / 1000 / (2 * SLOTS), seconds]


async def ready(client: Client, count: int) -> list[float]:
    """Milliseconds that a ready task waits while half of what is possible is asked for."""
    given = {"milliseconds": STEP_MS, "steps": STEPS}
    runs = max(20, count // STEPS)

    async def started(run: str) -> str:
        await client.workflows.start("steps", given, run=run)
        return run

    async def burst(number: int) -> float:
        began = time.perf_counter()
        names = await asyncio.gather(*(started(uuid.uuid4().hex) for _ in range(number)))
        await asyncio.gather(*(client.workflows.wait(name, WAIT_SECONDS, nodes=False) for name in names))
        return number / (time.perf_counter() - began)

    for _ in range(WARM_BURSTS):  # a Kafka that was started a moment ago is slow, and is not what is measured
        most = await burst(50)  # runs a second, when as many are asked for as it can do
    chance, names = random.Random(1), []  # noqa: S311 - the same arrivals again
    for _ in range(runs):
        names.append(asyncio.create_task(started(uuid.uuid4().hex)))
        await asyncio.sleep(chance.expovariate(most / 2))
    waited = []
    for name in await asyncio.gather(*names):
        ended = await client.workflows.wait(name, WAIT_SECONDS)
        waited += [1000 * node["queued_seconds"] for node in ended["nodes"][1:]]
    cut = statistics.quantiles(waited, n=100)
    return [cut[49], cut[98]]


async def waiting(mesh: LocalMesh, client: Client, count: int) -> list[float]:
    """Bytes a run, and processor seconds a second beyond those of an idle scheduler."""
    redis = connect(RedisSettings(url=mesh.context["redis"]), "bench")
    scheduler = psutil.Process(mesh.pid("scheduler"))

    async def cost() -> tuple[int, float]:
        began, before = time.perf_counter(), scheduler.cpu_times()
        await asyncio.sleep(IDLE_SECONDS)
        after, seconds = scheduler.cpu_times(), time.perf_counter() - began
        info: dict[str, int] = await redis.info("memory")
        return info["used_memory"], (after.user + after.system - before.user - before.system) / seconds

    async def started() -> None:
        async with limit:
            await client.workflows.start("sleeper", {}, run=uuid.uuid4().hex)

    limit = asyncio.Semaphore(STARTS)
    await started()
    memory, idle = await cost()
    await asyncio.gather(*(started() for _ in range(count)))
    async with asyncio.timeout(WAIT_SECONDS):
        while (await client.transport.request("scheduler", "GET", "/v1/queues")).json()["queues"][0]["ready"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    more, busy = await cost()
    await redis.aclose()
    return [(more - memory) / count, max(0.0, busy - idle)]


async def measure(what: str, kafka: str, redis: str, count: int, settings: Mapping[str, str]) -> list[float]:
    """The figures of one part."""
    own: dict[str, str] = {"CONCURRENCY": str(SLOTS)} if what == "skewed" else {}
    replicas = 2 if what == "skewed" else 1
    async with hosted(kafka, redis, replicas=replicas, settings=own | dict(settings)) as (mesh, client):
        if what in ("spins", "rests", "steps"):
            return await tiny(client, what, count)
        if what == "skewed":
            return await skewed(client, count)
        if what == "waiting":
            return await waiting(mesh, client, count)
        if what == "ready":
            return await ready(client, count)
        return await rate(client, what, count)


if __name__ == "__main__":
    quiet()
    _, part, kafka_at, redis_at, size, *told = sys.argv
    asked = dict(word.split("=", 1) for word in told)
    figures = asyncio.run(measure(part, kafka_at, redis_at, int(size), asked))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
