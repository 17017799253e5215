# SPDX-License-Identifier: Apache-2.0
"""The wiring of the broker, and nothing else."""

import asyncio
from contextlib import aclosing

from dependency_injector import containers, providers

from nerv.app import find_app
from nerv.clock import SystemClock
from nerv.kafka import Producer
from nerv.kafka.admin import Admin
from nerv.kafka.owning import Owners
from nerv.kafka.survey import Survey
from nerv.redis import connect
from nerv.service import Health, Service
from nerv.service.peers import client_of, token_of
from nerv.telemetry.lags import tell_delays, tell_lags
from nerv.telemetry.spans.store import SpanStore
from nerv_broker.bridges import Bridges
from nerv_broker.catalog import Catalog
from nerv_broker.deadletters.office import Office
from nerv_broker.groups import Groups
from nerv_broker.handlers import ROUTES, Deps, about
from nerv_broker.middleware import Chains
from nerv_broker.publishing import PublicationOwner, Publisher, Receipts
from nerv_broker.reactions import Reactions
from nerv_broker.schemas import Registry
from nerv_broker.settings import BrokerSettings
from nerv_broker.subscriptions import Subscriptions
from nerv_broker.topics.figures import Figures


class Wiring(containers.DeclarativeContainer):
    """Who gets what."""

    settings = providers.Dependency(instance_of=BrokerSettings)
    client_id = providers.Callable("broker-{}".format, settings.provided.instance)
    app = providers.Singleton(find_app, settings.provided.app)
    health = providers.Singleton(Health)
    admin = providers.Singleton(Admin, settings.provided.kafka, client_id)
    survey = providers.Singleton(Survey, settings.provided.kafka, client_id)
    catalog = providers.Singleton(Catalog, admin, app, settings.provided.mesh)
    figures = providers.Singleton(Figures, settings.provided.kafka, client_id, survey)
    producer = providers.Singleton(Producer, settings.provided.kafka, client_id, bounds=settings.provided.broker.bounds)
    chains = providers.Singleton(Chains, app, settings.provided.broker.history)
    subscriptions = providers.Singleton(Subscriptions, settings, client_id, health.provided.closing, chains, survey)
    client = providers.Singleton(client_of, settings)
    token = providers.Callable(token_of, settings)
    reactions = providers.Singleton(Reactions, settings, app, client, chains)
    schemas = providers.Singleton(Registry, settings, admin, app)
    bridges = providers.Singleton(Bridges, settings, app, producer)
    groups = providers.Singleton(
        Groups, settings, client, producer, chains, admin, health.provided.closing, app.provided.reactions
    )
    office = providers.Singleton(Office, settings, client, producer, groups, survey)
    receipts = providers.Singleton(Receipts, settings, admin)
    owners = providers.Singleton(
        Owners,
        settings.provided.ownership,
        providers.Callable("{}.broker.receipts".format, settings.provided.mesh),
        providers.Factory(
            PublicationOwner,
            settings.provided.ownership,
            clock=providers.Singleton(SystemClock),
            crash=receipts.provided.crash,
            receipts=receipts,
        ).provider,
        receipts.provided.caught_up,
        health.provided.closing,
    )
    redis = providers.Singleton(connect, settings.provided.redis, client_id)
    spans = providers.Singleton(SpanStore, redis, settings.provided.mesh, settings.provided.spans)
    publisher = providers.Singleton(Publisher, settings.provided.ownership, owners, receipts, token)
    deps = providers.Singleton(
        Deps,
        settings=settings,
        app=app,
        catalog=catalog,
        figures=figures,
        admin=admin,
        producer=producer,
        publisher=publisher,
        owners=owners,
        subscriptions=subscriptions,
        schemas=schemas,
        chains=chains,
        bridges=bridges,
        survey=survey,
        groups=groups,
        office=office,
        spans=spans,
    )


def build(settings: BrokerSettings) -> Service:
    """The service, not yet started."""
    wiring = Wiring(settings=settings)
    reactions, schemas, receipts = wiring.reactions(), wiring.schemas(), wiring.receipts()
    reactions.crashed = asyncio.get_running_loop().create_future()
    schemas.follower.crashed = receipts.follower.crashed = reactions.crashed
    wiring.health().register("reactions", reactions.fault, shared=True)
    groups = wiring.groups()
    tell_lags(lambda: {**groups.lags(), **reactions.behind.lags()})
    tell_delays(lambda: {**groups.delays(), **reactions.behind.delays()})
    wiring.health().register("owners", wiring.owners().fault)
    return Service(
        name="broker",
        routes=ROUTES,
        deps=wiring.deps(),
        about=about,
        health=wiring.health(),
        parts=(
            aclosing(wiring.redis()), schemas, wiring.producer(), receipts, wiring.owners(), wiring.publisher(),
            wiring.client(), wiring.subscriptions(), groups, reactions, wiring.bridges(),
        ),
        crashed=reactions.crashed,
    )  # fmt: skip
