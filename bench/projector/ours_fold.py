# SPDX-License-Identifier: Apache-2.0
"""Ours: `BOOTSTRAP REDIS MESH PROJECTION`: fold all of history into empty views, in process, wired as the service is.

Prints events a second from the first batch on, and CPU seconds a million events.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from bench.broker.records import COLLECTOR
from bench.projector.events import PARTITIONS
from nerv.errors import Unavailable
from nerv.kafka import KafkaSettings
from nerv.protocols.views import Progress
from nerv.redis import RedisSettings, connect
from nerv_projector.app import Wiring
from nerv_projector.lag import standing
from nerv_projector.settings import ProjectorSettings

LOOK_SECONDS = 0.01


def settings_for(bootstrap: str, redis: str, mesh: str) -> ProjectorSettings:
    """The service's settings."""
    return ProjectorSettings(
        mesh=mesh, app="bench.projector.app:app", kafka=KafkaSettings(bootstrap_servers=bootstrap),
        redis=RedisSettings(url=redis), partitions=PARTITIONS, insecure_dev=True,
    )  # fmt: skip


@asynccontextmanager
async def hosted(bootstrap: str, redis: str, mesh: str, projection: str) -> AsyncIterator[Wiring]:
    """A replica that owns all partitions and hosts one projection."""
    os.environ.setdefault("OTEL_SDK_DISABLED", "true")
    gc.set_threshold(*COLLECTOR)
    wiring = Wiring(settings=settings_for(bootstrap, redis, mesh))
    app = wiring.app()
    for name in set(app.projections) - {projection}:
        del app.projections[name]
    parts = (
        wiring.producer(), wiring.watermarks(), wiring.control(), wiring.host(), wiring.hub(), wiring.membership(),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        stack.push_async_callback(wiring.redis().aclose)
        for part in parts:
            await stack.enter_async_context(part)
        yield wiring


async def wipe(redis: str, mesh: str) -> None:
    """Views that an earlier turn has left."""
    client = connect(RedisSettings(url=redis), "bench")
    keys = [key async for key in client.scan_iter(f"{mesh}:*", count=10_000)]
    for at in range(0, len(keys), 10_000):
        await client.unlink(*keys[at : at + 10_000])
    await client.aclose()


async def measure(bootstrap: str, redis: str, mesh: str, projection: str) -> str:
    """The figures, as they are printed."""
    await wipe(redis, mesh)
    async with hosted(bootstrap, redis, mesh, projection) as wiring:
        runner = wiring.hub().runners[projection]
        views = runner.hosted.views

        async def progress() -> Progress | None:
            return None if runner.epoch is None else await views.progress(runner.epoch)

        while not ((first := await progress()) and first.folded):  # noqa: ASYNC110 - the views tell nobody
            await asyncio.sleep(LOOK_SECONDS)
        began, cpu = time.perf_counter(), time.process_time()
        while True:
            now = await progress()
            seconds, spent = time.perf_counter() - began, time.process_time() - cpu
            try:
                if (await standing(runner, wiring.watermarks())).lag == 0:
                    break
            except Unavailable:
                pass
            await asyncio.sleep(LOOK_SECONDS)
    assert now is not None
    count = now.folded - first.folded
    return f"{spent / count * 1e6} {count / seconds}"


if __name__ == "__main__":
    sys.stdout.write(uvloop.run(measure(*sys.argv[1:])) + "\n")
