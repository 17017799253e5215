# SPDX-License-Identifier: Apache-2.0
"""The wiring of temporal, and nothing else."""

import asyncio

from dependency_injector import containers, providers

from nerv.app import find_app
from nerv.clock import SystemClock
from nerv.kafka.admin import Admin, check_partitions
from nerv.kafka.owning import Owners
from nerv.service import Health, Service
from nerv_temporal.api.deps import Deps
from nerv_temporal.feeds import Feeds
from nerv_temporal.handlers import ROUTES, about
from nerv_temporal.index import Index
from nerv_temporal.owner import PartitionOwner
from nerv_temporal.router import Router
from nerv_temporal.settings import TemporalSettings
from nerv_temporal.tail import Tail


def open_index(settings: TemporalSettings) -> Index:
    """The index of the topic as it is now. Raises NotFound, Unavailable, or Misconfigured for another partition count."""
    admin = Admin(settings.kafka, f"temporal-{settings.instance}-admin")
    topic = admin.state_of(settings.history)
    for one in (topic, *map(admin.state_of, (settings.barriers, settings.commands, settings.replies))):
        check_partitions(one.name, settings.partitions, one.partitions)
    return Index(settings.index_dir, topic.id)


class Wiring(containers.DeclarativeContainer):
    """Who gets what."""

    settings = providers.Dependency(instance_of=TemporalSettings)
    app = providers.Singleton(find_app, settings.provided.app)
    clock = providers.Singleton(SystemClock)
    health = providers.Singleton(Health)
    index = providers.Singleton(open_index, settings)
    tail = providers.Singleton(
        Tail,
        settings.provided.kafka,
        providers.Callable("temporal-{}".format, settings.provided.instance),
        settings.provided.history,
        settings.provided.partitions,
        index,
    )
    owners = providers.Singleton(
        Owners,
        settings.provided.ownership,
        providers.Callable("{}.temporal".format, settings.provided.mesh),
        providers.Factory(PartitionOwner, settings, app, tail=tail, clock=clock).provider,
        tail.provided.catch_up,
        health.provided.closing,
    )
    router = providers.Singleton(Router, settings, owners, tail)
    feeds = providers.Singleton(Feeds, settings.provided.reads, tail, health.provided.closing)
    deps = providers.Singleton(
        Deps, settings=settings, app=app, router=router, owners=owners, tail=tail, feeds=feeds, clock=clock
    )


def build(settings: TemporalSettings) -> Service:
    """The service, not yet started."""
    wiring = Wiring(settings=settings)
    tail, owners = wiring.tail(), wiring.owners()
    tail.crashed = asyncio.get_running_loop().create_future()
    tail.index.database.on_damage = tail.crash
    wiring.health().register("owners", owners.fault)
    return Service(
        name="temporal",
        routes=ROUTES,
        deps=wiring.deps(),
        about=about,
        health=wiring.health(),
        parts=(tail, owners, wiring.router()),
        crashed=tail.crashed,
    )
