# SPDX-License-Identifier: Apache-2.0
"""The wiring of sync, and nothing else."""

from dependency_injector import containers, providers

from nerv.app import find_app
from nerv.clock import SystemClock
from nerv.service import Health, Service
from nerv.service.peers import client_of
from nerv_sync.handlers import ROUTES, Deps
from nerv_sync.journal import Journal
from nerv_sync.reach import Reach
from nerv_sync.runner import Runner
from nerv_sync.runs import Runs
from nerv_sync.settings import SyncSettings
from nerv_sync.sources import Sources
from nerv_sync.threads import Threads


class Wiring(containers.DeclarativeContainer):
    """Who gets what."""

    settings = providers.Dependency(instance_of=SyncSettings)
    bounds = settings.provided.sync
    app = providers.Singleton(find_app, settings.provided.app)
    clock = providers.Singleton(SystemClock)
    health = providers.Singleton(Health)
    client = providers.Singleton(client_of, settings)
    history = client.provided.streams
    reach = providers.Singleton(Reach, client)
    sources = providers.Singleton(Sources, app)
    threads = providers.Singleton(Threads, bounds.threads)
    journal = providers.Singleton(Journal, history, clock, bounds)
    runner = providers.Singleton(Runner, app, sources, history, threads, bounds)
    runs = providers.Singleton(Runs, runner, journal, bounds, health.provided.closing.call())
    deps = providers.Singleton(Deps, settings=settings, app=app, sources=sources, runs=runs, journal=journal)


def build(settings: SyncSettings) -> Service:
    """The service, not yet started."""
    wiring = Wiring(settings=settings)
    wiring.health().register("temporal", wiring.reach().fault)
    return Service(
        name="sync",
        routes=ROUTES,
        deps=wiring.deps(),
        health=wiring.health(),
        parts=(wiring.client(), wiring.reach(), wiring.threads(), wiring.runs()),
    )
