# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP REDIS MESH PROJECTION FOLDS`: a projector folds all of history so many times, and goes through the windows of the
series of that name meanwhile, each time from the beginning.

Prints, of each window, microseconds of CPU and how many events were folded.
"""

import sys
import time

import uvloop

import nerv_projector.folding
import nerv_projector.views.redis_views
from bench.harness import PROGRESS
from bench.projector.ours_fold import all_folded, hosted, wipe
from bench.telemetry.meter import Keeper, Meter
from bench.telemetry.modes import Switch, enter
from bench.telemetry.windows import SERIES, Noted
from nerv.kafka import Received
from nerv.redis import RedisSettings
from nerv.telemetry import batches, telemetry
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.telemetry.spans.keeper import keeping, recent_of
from nerv_projector.folding import FoldSession

SPANS = "spans"  # the mesh that keeps them: what is folded is wiped
DAY_MS = 86_400_000
LOOK_SECONDS = 0.25  # a look takes the loop that folds half a millisecond


async def measure(bootstrap: str, redis: str, mesh: str, projection: str, folds: int) -> list[Noted]:
    """What was noted."""
    enter(redis)
    Keeper.take_over()
    batches.RECENT_MS = DAY_MS  # else it would trace nothing an hour after history was written
    bounds = SpanSettings()
    recent = recent_of(bounds)
    assert recent is not None
    switch = Switch(nerv_projector.folding, nerv_projector.views.redis_views)
    # All spans are made and written on this thread. The one that reads Kafka makes none, and reads ahead when it likes.
    meter = Meter(SERIES["projector"][mesh], switch, time.thread_time)
    take = FoldSession._take

    async def counted(session: FoldSession, records: list[Received], *, more: bool) -> None:
        await take(session, records, more=more)
        meter.count(len(records))

    FoldSession._take = counted  # type: ignore[method-assign,assignment]
    with telemetry("projector", "bench", recent):
        async with keeping(recent, RedisSettings(url=redis), SPANS, bounds, "projector"):
            for number in range(1, folds + 1):
                await wipe(redis, mesh)
                meter.begin()
                async with hosted(bootstrap, redis, mesh, projection) as wiring:
                    await all_folded(wiring, projection, LOOK_SECONDS)
                sys.stderr.write(f"{PROGRESS}projector, {mesh}: fold {number} of {folds}\n")
                sys.stderr.flush()
            Keeper.it.check()
    return meter.noted


if __name__ == "__main__":
    bootstrap, redis, mesh, projection, folds = sys.argv[1:]
    noted = uvloop.run(measure(bootstrap, redis, mesh, projection, int(folds)))
    sys.stdout.write(" ".join(f"{one.cpu} {one.number}" for one in noted) + "\n")
