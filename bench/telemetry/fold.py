# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP REDIS FEW EVERY PROJECTION ROUNDS`: a projector folds all of history again and again, each time in the next mode.

FEW and EVERY are the meshes with the histories of `suite.SAMPLED`. Prints, of each turn, CPU seconds a million events, from the
start of the replica until nothing is missing: what is left from the first batch on is too little to measure where a machine is
slow to look. One process takes all turns, as the broker's does, and for the same reason.
"""

import asyncio
import sys
import time

import uvloop

import nerv_projector.folding
import nerv_projector.views.redis_views
from bench.harness import PROGRESS
from bench.projector.ours_fold import LOOK_SECONDS, covers, hosted, wipe
from bench.telemetry.modes import KEPT_SECONDS, TURNS, Hooks, Mode, enter, settings, switch
from nerv.telemetry import batches, telemetry
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.telemetry.spans.keeper import keeping, recent_of
from nerv_projector.app import Wiring


async def measure(bootstrap: str, redis: str, few: str, every: str, projection: str, rounds: int) -> list[float]:
    """The figures, in the order of `TURNS`, round after round."""
    enter(redis)
    hooks = Hooks(nerv_projector.folding, nerv_projector.views.redis_views)
    bounds = SpanSettings()
    recent = recent_of(bounds)
    assert recent is not None
    found: list[float] = []
    with telemetry("projector", "bench", recent):
        async with keeping(recent, settings(redis), few, bounds, "projector"):
            for turn in range(rounds + 1):
                for mode in TURNS:
                    switch(mode, hooks)
                    mesh = every if mode is Mode.ALL else few
                    await wipe(redis, mesh)
                    # Of spans: what other turns have left of it counts not.
                    batches._budget = batches.Budget(batches.A_SECOND, batches.AT_ONCE)
                    async with hosted(bootstrap, redis, mesh, projection) as wiring:
                        figure = await all_of_it(wiring, projection)
                    if turn:  # the first round warms caches and servers
                        found.append(figure)
                    sys.stderr.write(f"{PROGRESS}projector: {mode} {figure:.2f} us\n")
                    sys.stderr.flush()
    return found


async def all_of_it(wiring: Wiring, projection: str) -> float:
    """The figure of a replica that has just been started."""
    cpu = time.process_time()
    runner = wiring.hub().runners[projection]
    ends = await wiring.watermarks().bounds(runner.hosted.folded_topic)
    while True:
        if runner.epoch is not None:
            progress = await runner.hosted.views.progress(runner.epoch)
            if progress.cursors and covers(progress, ends):
                break
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.sleep(KEPT_SECONDS)
    return (time.process_time() - cpu) / progress.folded * 1e6


if __name__ == "__main__":
    bootstrap, redis, few, every, projection, rounds = sys.argv[1:]
    figures = uvloop.run(measure(bootstrap, redis, few, every, projection, int(rounds)))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
