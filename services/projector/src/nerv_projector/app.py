# SPDX-License-Identifier: Apache-2.0
"""The wiring of the projector, and nothing else."""

from contextlib import aclosing

from dependency_injector import containers, providers

from nerv.app import find_app
from nerv.kafka import Membership, Producer
from nerv.redis import connect
from nerv.service import Health, Service
from nerv.service.peers import client_of
from nerv_projector import gauges
from nerv_projector.control import ControlTopic
from nerv_projector.deadletters import DeadLetters
from nerv_projector.deps import Deps
from nerv_projector.faust_app import FaustHost
from nerv_projector.handlers import ROUTES
from nerv_projector.hosting import Hosting
from nerv_projector.hub import CHECK_SECONDS, Hub
from nerv_projector.introspecting import about
from nerv_projector.live import Live
from nerv_projector.mesh import Board
from nerv_projector.mesh.rates import SAY_SECONDS, rates_of
from nerv_projector.settings import ProjectorSettings
from nerv_projector.timetravel import TimeTravel
from nerv_projector.watermarks import Watermarks


class Wiring(containers.DeclarativeContainer):
    """Who gets what."""

    settings = providers.Dependency(instance_of=ProjectorSettings)
    client_id = providers.Callable("projector-{}".format, settings.provided.instance)
    app = providers.Singleton(find_app, settings.provided.app)
    health = providers.Singleton(Health)
    redis = providers.Singleton(connect, settings.provided.redis, client_id)
    client = providers.Singleton(client_of, settings)
    producer = providers.Singleton(Producer, settings.provided.kafka, client_id)
    letters = providers.Singleton(DeadLetters, producer, settings.provided.dead_letters)
    watermarks = providers.Singleton(
        Watermarks, settings.provided.kafka, client_id, settings.provided.group, settings.provided.partitions
    )
    control = providers.Singleton(
        ControlTopic, settings.provided.kafka, client_id, settings.provided.group, settings.provided.control
    )
    host = providers.Singleton(FaustHost, settings.provided.mesh)
    hosting = providers.Singleton(Hosting, settings, app, redis, letters, producer, control, host, client)
    board = providers.Singleton(Board, redis, settings.provided.mesh)
    rates = providers.Singleton(rates_of, settings, app, host, board)
    hub = providers.Singleton(Hub, hosting, control, watermarks, host, health, rates)
    limits = settings.provided.projector
    travel = providers.Singleton(TimeTravel, client.provided.streams, limits, control.provided.skipped)
    live = providers.Singleton(
        Live, settings.provided.kafka, client_id, watermarks, health.provided.closing, limits.followers
    )
    deps = providers.Singleton(
        Deps,
        settings=settings,
        app=app,
        hub=hub,
        control=control,
        watermarks=watermarks,
        travel=travel,
        live=live,
        board=board,
    )
    membership = providers.Singleton(
        Membership,
        settings.provided.kafka,
        client_id,
        settings.provided.group,
        settings.provided.history,
        settings.provided.partitions,
        gained=hub.provided.gained,
        lost=hub.provided.lost,
    )


def build(settings: ProjectorSettings) -> Service:
    """The service, not yet started."""
    wiring = Wiring(settings=settings)
    hub, host, rates = wiring.hub(), wiring.host(), wiring.rates()
    host.every(CHECK_SECONDS, hub.check)
    gauges.tell(settings.group, hub, wiring.watermarks(), host)
    if settings.projector.rates:
        host.every(SAY_SECONDS, rates.check)
    return Service(
        name="projector",
        routes=ROUTES,
        deps=wiring.deps(),
        about=about,
        health=wiring.health(),
        parts=(
            aclosing(wiring.redis()),
            wiring.client(),
            wiring.producer(),
            wiring.watermarks(),
            wiring.control(),
            host,
            rates,
            hub,
            wiring.membership(),
        ),
        crashed=host.crashed,
    )
