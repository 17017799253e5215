# SPDX-License-Identifier: Apache-2.0
"""The wiring of the scheduler, and nothing else."""

import asyncio
from collections import Counter
from contextlib import aclosing

from dependency_injector import providers

from nerv.service import Service
from nerv.telemetry.lags import tell_delays, tell_lags
from nerv_scheduler.attempt import Attempts, completions
from nerv_scheduler.effects import Performer
from nerv_scheduler.ground import Ground
from nerv_scheduler.handlers import ROUTES, Deps, about
from nerv_scheduler.inputs import Inputs
from nerv_scheduler.interruptions import Interruptions
from nerv_scheduler.keeper import Keeper
from nerv_scheduler.pools import Processes, Threads
from nerv_scheduler.pressure import Pressure
from nerv_scheduler.queue.opening import own_queue
from nerv_scheduler.settings import SchedulerSettings
from nerv_scheduler.worker import Worker


class Wiring(Ground):
    """Who gets what."""

    performer = providers.Singleton(
        Performer, Ground.client.provided.streams, Ground.client, Ground.starter, Ground.clock, Ground.work.http_allow
    )
    threads = providers.Singleton(Threads)
    processes = providers.Singleton(Processes, Ground.work.processes, Ground.work.process_bytes, threads)
    keeper = providers.Singleton(
        Keeper,
        providers.Factory(own_queue, Ground.settings).provider,
        Ground.settings.provided.instance,
        Ground.work.lease_seconds,
    )
    # All that is counted, to be seen before it happens.
    counts: providers.Singleton[Counter[str]] = providers.Singleton(
        Counter, dict.fromkeys(("steals", "stolen", "stale", "quanta", "fused", "failed"), 0)
    )
    attempts = providers.Singleton(
        Attempts,
        app=Ground.app,
        callees=Ground.callees,
        queue=Ground.queue,
        recorder=Ground.recorder,
        performer=performer,
        client=Ground.client,
        threads=threads,
        processes=processes,
        fusing=Ground.fusing,
        interruptions=providers.Singleton(Interruptions),
        controls=Ground.controls,
        inputs=providers.Singleton(Inputs, Ground.queue, Ground.results, Ground.patience),
        results=Ground.results,
        patience=Ground.patience,
        clock=Ground.clock,
        settings=Ground.work,
        source=Ground.source,
        worker=Ground.settings.provided.instance,
        counts=counts,
        completed=providers.Singleton(completions, Ground.queue),
    )
    worker = providers.Singleton(Worker, attempts, Ground.queue, keeper, Ground.recovery, Ground.work)
    pressure = providers.Singleton(Pressure, Ground.queue, Ground.work.backlog, worker.provided.pools, counts)
    deps = providers.Singleton(
        Deps,
        settings=Ground.settings,
        app=Ground.app,
        queue=Ground.queue,
        recorder=Ground.recorder,
        results=Ground.results,
        starter=Ground.starter,
        steering=Ground.steering,
        schedules=Ground.schedules,
        pressure=pressure,
    )


def build(settings: SchedulerSettings) -> Service:
    """The service, not yet started."""
    wiring = Wiring(settings=settings)
    worker, keeper, listener, ticking = wiring.worker(), wiring.keeper(), wiring.listener(), wiring.ticking()
    worker.crashed = keeper.crashed = listener.crashed = ticking.crashed = asyncio.get_running_loop().create_future()
    tell_lags(lambda: listener.behind.lags())
    tell_delays(lambda: listener.behind.delays())
    wiring.health().register("worker", worker.fault, shared=True)
    wiring.health().register("awaited", listener.fault, shared=True)
    wiring.health().register("schedules", ticking.fault, shared=True)
    wiring.health().register("servers", wiring.patience().fault, shared=True)
    # What tasks need is there before the worker starts any, and until it has drained.
    parts = (
        aclosing(wiring.redis()), wiring.client(), wiring.app().container, wiring.processes(), wiring.pressure(), keeper,
        worker, listener, ticking, wiring.sweeper(),
    )  # fmt: skip
    return Service(
        name="scheduler",
        routes=ROUTES,
        deps=wiring.deps(),
        about=about,
        health=wiring.health(),
        parts=parts,
        crashed=worker.crashed,
    )
