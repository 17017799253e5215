# SPDX-License-Identifier: Apache-2.0
"""The wiring of sync, and nothing else."""

from contextlib import aclosing

from dependency_injector import containers, providers

from nerv.app import find_app
from nerv.clock import SystemClock
from nerv.redis import connect
from nerv.service import Health, Service
from nerv.service.peers import client_of
from nerv.sync.records.redis import RedisRecords
from nerv_sync.deps import Deps
from nerv_sync.handlers import ROUTES, about
from nerv_sync.journal import Journal
from nerv_sync.opened import Synchronizers
from nerv_sync.pairs import Pairs
from nerv_sync.performing import Performers
from nerv_sync.reach import Reach
from nerv_sync.runs import Runs, count_from_zero
from nerv_sync.settings import SyncSettings
from nerv_sync.shelf import Shelf
from nerv_sync.threads import SourceThreads, Threads
from nerv_sync.triggers import Triggers


class Wiring(containers.DeclarativeContainer):
    """Who gets what."""

    settings = providers.Dependency(instance_of=SyncSettings)
    bounds = settings.provided.sync
    name = providers.Callable("sync-{}".format, settings.provided.instance)
    app = providers.Singleton(find_app, settings.provided.app)
    clock = providers.Singleton(SystemClock)
    health = providers.Singleton(Health)
    client = providers.Singleton(client_of, settings)
    history = client.provided.streams
    redis = providers.Singleton(connect, settings.provided.redis, name)
    reach = providers.Singleton(Reach, client)
    threads = providers.Singleton(Threads, bounds.threads)
    source_threads = providers.Singleton(SourceThreads, threads, bounds.load_seconds)
    pairs = providers.Singleton(Pairs, app, bounds.rows, source_threads)
    records = providers.Factory(RedisRecords, redis)
    synchronizers = providers.Singleton(
        Synchronizers, pairs, client, records.provider, settings.provided.mesh, bounds.delete_guard
    )
    journal = providers.Singleton(Journal, history, clock, bounds)
    shelf = providers.Singleton(Shelf, history, clock)
    performers = providers.Singleton(Performers, app, synchronizers, history, shelf, threads, clock)
    runs = providers.Singleton(Runs, performers, journal, bounds, health.provided.closing.call())
    triggers = providers.Singleton(Triggers, pairs, runs, history, clock)
    deps = providers.Singleton(
        Deps,
        settings=settings,
        app=app,
        pairs=pairs,
        synchronizers=synchronizers,
        runs=runs,
        journal=journal,
        shelf=shelf,
        client=client,
        clock=clock,
    )


def build(settings: SyncSettings) -> Service:
    """The service, not yet started."""
    wiring = Wiring(settings=settings)
    count_from_zero(wiring.pairs().names())
    wiring.health().register("temporal", wiring.reach().fault, shared=True)
    return Service(
        name="sync",
        routes=ROUTES,
        deps=wiring.deps(),
        about=about,
        health=wiring.health(),
        parts=(
            aclosing(wiring.redis()),
            wiring.client(),
            wiring.reach(),
            wiring.threads(),
            wiring.synchronizers(),
            wiring.runs(),
            wiring.triggers(),
        ),
    )
