# SPDX-License-Identifier: Apache-2.0
"""The wiring of the scheduler, and nothing else."""

import asyncio
from collections import Counter

from dependency_injector import containers, providers

from nerv.app import find_app
from nerv.client import Client
from nerv.clock import SystemClock
from nerv.errors import Misconfigured
from nerv.redis import connect
from nerv.service import Health, Service
from nerv.service.peers import client_of
from nerv_scheduler.attempt import Attempts
from nerv_scheduler.effects import Performer
from nerv_scheduler.fusing import Fusing
from nerv_scheduler.handlers import ROUTES, Deps
from nerv_scheduler.interruptions import Interruptions
from nerv_scheduler.invoke import callees
from nerv_scheduler.keeper import Keeper
from nerv_scheduler.patience import Patience
from nerv_scheduler.pools import Processes, Threads
from nerv_scheduler.queue.opening import closing, make_queue, own_queue
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.runs import Recovery, Starter
from nerv_scheduler.settings import SchedulerSettings
from nerv_scheduler.steering import Steering
from nerv_scheduler.worker import Worker


def make_client(settings: SchedulerSettings) -> Client:
    """The client of history, of effects, and of tasks that ask for one. Raises Misconfigured."""
    if settings.services.temporal is None:
        raise Misconfigured("the scheduler keeps its runs in temporal; set NERV_SERVICES__TEMPORAL to its URL")
    return client_of(settings)


class Wiring(containers.DeclarativeContainer):
    """Who gets what."""

    settings = providers.Dependency(instance_of=SchedulerSettings)
    work = settings.provided.scheduler
    name = providers.Callable("scheduler-{}".format, settings.provided.instance)
    source = providers.Callable("{}.scheduler".format, settings.provided.mesh)
    app = providers.Singleton(find_app, settings.provided.app)
    callees = providers.Singleton(callees, app)
    clock = providers.Singleton(SystemClock)
    health = providers.Singleton(Health)
    redis = providers.Singleton(connect, settings.provided.redis, name)
    queue = providers.Singleton(make_queue, redis, settings)
    client = providers.Singleton(make_client, settings)
    recorder = providers.Singleton(Recorder, client.provided.streams, settings.provided.limits)
    starter = providers.Singleton(
        Starter, app, callees, queue, recorder, clock, source, settings.provided.instance, work.tasks
    )
    recovery = providers.Singleton(Recovery, queue, recorder, client.provided.streams)
    performer = providers.Singleton(Performer, client.provided.streams, client, starter, work.http_allow)
    patience = providers.Singleton(Patience)
    threads = providers.Singleton(Threads)
    processes = providers.Singleton(Processes, work.processes, work.process_bytes, threads)
    keeper = providers.Singleton(
        Keeper, providers.Factory(own_queue, settings).provider, settings.provided.instance, work.lease_seconds
    )
    attempts = providers.Singleton(
        Attempts,
        app=app,
        callees=callees,
        queue=queue,
        recorder=recorder,
        performer=performer,
        client=client,
        threads=threads,
        processes=processes,
        fusing=providers.Singleton(Fusing, callees, work.quantum_seconds),
        interruptions=providers.Singleton(Interruptions),
        patience=patience,
        clock=clock,
        settings=work,
        source=source,
        worker=settings.provided.instance,
        counts=providers.Singleton(Counter),
    )
    worker = providers.Singleton(Worker, attempts, queue, keeper, recovery, work)
    steering = providers.Singleton(Steering, queue, recorder, recovery, clock, source, settings.provided.instance)
    deps = providers.Singleton(
        Deps, settings=settings, app=app, queue=queue, recorder=recorder, starter=starter, steering=steering
    )


def build(settings: SchedulerSettings) -> Service:
    """The service, not yet started."""
    wiring = Wiring(settings=settings)
    worker, keeper = wiring.worker(), wiring.keeper()
    worker.crashed = asyncio.get_running_loop().create_future()
    wiring.health().register("worker", worker.fault)
    wiring.health().register("servers", wiring.patience().fault)
    return Service(
        name="scheduler",
        routes=ROUTES,
        deps=wiring.deps(),
        health=wiring.health(),
        # What tasks need is there before the worker starts any, and until it has drained.
        parts=(closing(wiring.redis()), wiring.client(), wiring.app().container, wiring.processes(), keeper, worker),
        crashed=worker.crashed,
    )
