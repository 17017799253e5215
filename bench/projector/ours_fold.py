# SPDX-License-Identifier: Apache-2.0
"""Ours: `fold|replay|restore BOOTSTRAP REDIS MESH PROJECTION TAIL`: in process, wired as the service is.

`fold`: all of history into empty views; prints CPU seconds a million events and events a second, from the first batch on.
`replay`: the same, and `restore`: from the views that there are and TAIL new events behind them; both print the seconds from the
start of a replica until nothing is missing.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from bench.broker.records import COLLECTOR
from bench.projector.events import PARTITIONS
from bench.projector.filling import grow
from nerv.kafka import KafkaSettings
from nerv.protocols.views import Cursor, Epoch, Progress, Views
from nerv.redis import RedisSettings, connect
from nerv_projector.app import Wiring
from nerv_projector.settings import ProjectorSettings
from nerv_projector.watermarks import Bounds, Watermarks

LOOK_SECONDS = 0.01
FOLDED_LOOK_SECONDS = 0.03  # while seconds are measured: a look takes the loop that folds half a millisecond


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


async def caught_up(views: Views, epoch: Epoch, watermarks: Watermarks, topic: str) -> bool:
    """Whether all that the topic holds is folded."""
    return covers(await views.progress(epoch), await watermarks.bounds(topic))


def covers(progress: Progress, ends: Mapping[int, Bounds]) -> bool:
    """Whether the cursors stand at the ends."""
    stored = progress.cursors
    return all(p in stored and Cursor.from_bytes(stored[p]).next_offset >= end for p, (_, end) in ends.items())


async def whole(wiring: Wiring, projection: str) -> list[float]:
    """CPU seconds a million events, and events a second, from the first batch on."""
    runner = wiring.hub().runners[projection]
    views = runner.hosted.views

    ends = await wiring.watermarks().bounds(runner.hosted.folded_topic)  # asked for once: history does not grow

    async def progress() -> Progress | None:
        return None if runner.epoch is None else await views.progress(runner.epoch)

    lane = runner.hosted.lanes[-1]
    # Not from the first views on: while those are written others are folded, which would cost nothing then.
    while lane.consumer is None or not lane.consumer.describe().counters["records"]:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(LOOK_SECONDS)
    began, cpu = time.perf_counter(), time.process_time()
    while not ((now := await progress()) and covers(now, ends)):  # noqa: ASYNC110 - the views tell nobody
        await asyncio.sleep(FOLDED_LOOK_SECONDS)
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    return [spent / now.folded * 1e6, now.folded / seconds]


async def all_folded(wiring: Wiring, projection: str, look: float = LOOK_SECONDS) -> None:
    """Until nothing is missing, which is looked at every so many seconds."""
    runner = wiring.hub().runners[projection]
    views, topic, watermarks = runner.hosted.views, runner.hosted.folded_topic, wiring.watermarks()
    while runner.epoch is None or not await caught_up(views, runner.epoch, watermarks, topic):  # noqa: ASYNC110 - they tell nobody
        await asyncio.sleep(look)


async def measure(what: str, bootstrap: str, redis: str, mesh: str, projection: str, tail: int) -> list[float]:
    """The figures."""
    if what == "restore":
        await asyncio.to_thread(grow, bootstrap, mesh, tail)
    else:
        await wipe(redis, mesh)
    began = time.perf_counter()
    async with hosted(bootstrap, redis, mesh, projection) as wiring:
        if what == "fold":
            return await whole(wiring, projection)
        await all_folded(wiring, projection)
        return [time.perf_counter() - began]


if __name__ == "__main__":
    what, bootstrap, redis, mesh, projection, tail = sys.argv[1:]
    figures = uvloop.run(measure(what, bootstrap, redis, mesh, projection, int(tail)))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
