# SPDX-License-Identifier: Apache-2.0
"""`MODE BOOTSTRAP REDIS MESH PROJECTION`: the projector folds all of history, as suite *projector* measures it.

Prints CPU seconds a million events, and events a second, from the start of the replica until nothing is missing: what is left
from the first batch on is too little to measure where a machine is slow to look.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack

import uvloop

import nerv_projector.folding
import nerv_projector.views.redis_views
from bench.projector.ours_fold import LOOK_SECONDS, covers, hosted, wipe
from bench.telemetry.modes import Hooks, Mode, enter, settings
from nerv.telemetry import telemetry
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.telemetry.spans.keeper import keeping, recent_of
from nerv_projector.app import Wiring


async def measure(mode: Mode, bootstrap: str, redis: str, mesh: str, projection: str) -> list[float]:
    """The figures."""
    enter(mode, redis)
    if mode is Mode.NONE:
        Hooks(nerv_projector.folding, nerv_projector.views.redis_views).take_out()
    bounds = SpanSettings()
    recent = recent_of(bounds)
    await wipe(redis, mesh)
    with telemetry("projector", "bench", recent):
        async with AsyncExitStack() as stack:
            if recent is not None:
                await stack.enter_async_context(keeping(recent, settings(redis), mesh, bounds, "projector"))
            wiring = await stack.enter_async_context(hosted(bootstrap, redis, mesh, projection))
            return await all_of_it(wiring, projection)


async def all_of_it(wiring: Wiring, projection: str) -> list[float]:
    """The figures of a replica that has just been started."""
    began, cpu = time.perf_counter(), time.process_time()
    runner = wiring.hub().runners[projection]
    ends = await wiring.watermarks().bounds(runner.hosted.folded_topic)
    while True:
        if runner.epoch is not None:
            progress = await runner.hosted.views.progress(runner.epoch)
            if progress.cursors and covers(progress, ends):
                break
        await asyncio.sleep(LOOK_SECONDS)
    seconds, spent = time.perf_counter() - began, time.process_time() - cpu
    return [spent / progress.folded * 1e6, progress.folded / seconds]


if __name__ == "__main__":
    mode, bootstrap, redis, mesh, projection = sys.argv[1:]
    figures = uvloop.run(measure(Mode(mode), bootstrap, redis, mesh, projection))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
