# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of the broker; the table of routes is at the foot."""

from dataclasses import dataclass

from starlette.responses import HTMLResponse, Response, StreamingResponse

from nerv.app import App
from nerv.documents import asyncapi, page
from nerv.kafka import Producer
from nerv.kafka.admin import Admin
from nerv.kafka.owning import Owners
from nerv.kafka.survey import Survey
from nerv.service import Request, Route, respond
from nerv.service.describe import About
from nerv.telemetry.spans.store import SpanStore
from nerv.topics import full
from nerv_broker import traces
from nerv_broker.bridges import Bridges
from nerv_broker.catalog import Catalog
from nerv_broker.deadletters import handlers as deadletters
from nerv_broker.deadletters.office import Office
from nerv_broker.groups import Groups
from nerv_broker.groups import handlers as groups
from nerv_broker.middleware import Chains
from nerv_broker.publishing import PublicationOwner, Publisher
from nerv_broker.publishing import handlers as publishing
from nerv_broker.schemas import Registry
from nerv_broker.schemas import handlers as schemas
from nerv_broker.settings import BrokerSettings
from nerv_broker.subscriptions import Subscriptions, asked
from nerv_broker.subscriptions.asked import WORDS
from nerv_broker.topics import finding, records
from nerv_broker.topics import handlers as topics
from nerv_broker.topics.figures import Figures
from nerv_broker.topics.handlers import known


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: BrokerSettings
    app: App
    catalog: Catalog
    figures: Figures
    admin: Admin
    producer: Producer
    publisher: Publisher
    owners: Owners[PublicationOwner]
    subscriptions: Subscriptions
    schemas: Registry
    chains: Chains
    bridges: Bridges
    survey: Survey
    groups: Groups
    office: Office
    spans: SpanStore


async def subscribe(request: Request[Deps]) -> Response:
    """GET /v1/topics/{topic}/events: the events of a topic as server-sent events, from there on or up to there."""
    deps = request.deps
    topic = await known(request)
    partitions = await deps.catalog.partitions(topic)
    pieces = await deps.subscriptions.open(topic, partitions, asked(request, partitions))
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(pieces, 200, headers, "text/event-stream")


async def history(request: Request[Deps]) -> Response:
    """GET /v1/topics/{topic}/history: the topic's middleware, what it did to how many events, and the last of them by id.

    Each replica tells of what went through itself, since it started.
    """
    name = await known(request)
    return respond({"instance": request.deps.settings.instance} | request.deps.chains.history(name))


async def bridges(request: Request[Deps]) -> Response:
    """GET /v1/bridges: each bridge of the app with its ends, its lag in events, and what this replica carried."""
    deps = request.deps
    return respond({"instance": deps.settings.instance, "bridges": await deps.bridges.standing()})


async def asyncapi_document(request: Request[Deps]) -> Response:
    """GET /v1/asyncapi: the AsyncAPI 3 document of the app; for people `/v1/asyncapi.html`."""
    return respond(asyncapi(request.deps.app, request.deps.settings.mesh))


async def asyncapi_page(request: Request[Deps]) -> Response:
    """GET /v1/asyncapi.html: the same as a page."""
    # Nothing on the page runs or is loaded from elsewhere, whatever the texts of an app say.
    headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(page(asyncapi(request.deps.app, request.deps.settings.mesh)), headers=headers)


def about(deps: Deps) -> About:
    """What a replica of the broker says of itself."""
    app = deps.app
    reads = sorted(
        {
            deps.settings.receipts,
            deps.settings.schemas,
            *(full(deps.settings.mesh, r.topic) for r in app.reactions.values()),
        }
    )
    writes = sorted([*app.all_topics(), deps.settings.deadletters, deps.settings.receipts, deps.settings.schemas])
    owns = sorted(partition for partition, owner in deps.owners.owned().items() if owner.serving)
    return About(deps.settings, app, reads, writes, owns, {"groups": deps.groups.topics()})


ROUTES = (
    *publishing.ROUTES,
    Route(
        "GET", "/v1/topics/{topic}/events", subscribe, "topics:read", WORDS, gives=("text/event-stream",), of="topic"
    ),
    Route("GET", "/v1/topics/{topic}/history", history, "topics:read", of="topic"),
    *topics.ROUTES,
    *records.ROUTES,
    *finding.ROUTES,
    Route("GET", "/v1/bridges", bridges, "mesh:read"),
    Route("GET", "/v1/asyncapi", asyncapi_document, "mesh:read"),
    Route("GET", "/v1/asyncapi.html", asyncapi_page, "mesh:read", gives=("text/html",)),
    *schemas.ROUTES,
    *groups.ROUTES,
    *deadletters.ROUTES,
    *traces.ROUTES,
)
