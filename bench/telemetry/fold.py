# SPDX-License-Identifier: Apache-2.0
"""`MODE BOOTSTRAP REDIS MESH PROJECTION`: the projector folds all of history, as suite *projector* measures it.

Prints CPU seconds a million events, and events a second.
"""

import sys
from contextlib import AsyncExitStack

import uvloop

import nerv_projector.folding
import nerv_projector.views.redis_views
from bench.projector.ours_fold import hosted, whole, wipe
from bench.telemetry.modes import Mode, enter, settings, take_hooks_out
from nerv.telemetry import telemetry
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.telemetry.spans.keeper import keeping, recent_of


async def measure(mode: Mode, bootstrap: str, redis: str, mesh: str, projection: str) -> list[float]:
    """The figures."""
    enter(mode, redis)
    if mode is Mode.NONE:
        take_hooks_out(nerv_projector.folding, nerv_projector.views.redis_views)
    bounds = SpanSettings()
    recent = recent_of(bounds)
    await wipe(redis, mesh)
    with telemetry("projector", "bench", recent):
        async with AsyncExitStack() as stack:
            if recent is not None:
                await stack.enter_async_context(keeping(recent, settings(redis), mesh, bounds, "projector"))
            wiring = await stack.enter_async_context(hosted(bootstrap, redis, mesh, projection))
            return await whole(wiring, projection)


if __name__ == "__main__":
    mode, bootstrap, redis, mesh, projection = sys.argv[1:]
    figures = uvloop.run(measure(Mode(mode), bootstrap, redis, mesh, projection))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
