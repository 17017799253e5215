# SPDX-License-Identifier: Apache-2.0
"""What the projector says of itself over HTTP: how far each projection is, and what this replica does."""

import asyncio
from typing import Any

from starlette.responses import Response

from nerv.errors import NervError, Unavailable
from nerv.kafka.deadletters import Origin
from nerv.protocols.views import View
from nerv.service import Request, Route, respond
from nerv.service.describe import About
from nerv_projector.asking import LIMIT, PERSPECTIVE, understood
from nerv_projector.deps import Deps
from nerv_projector.lag import Standing, standing
from nerv_projector.model import versioned
from nerv_projector.operations import name_of, state_of
from nerv_projector.runner import Runner
from nerv_projector.seeing import Seen
from nerv_projector.sources import sources_of


async def projections(request: Request[Deps]) -> Response:
    """GET /v1/projections: what is folded from what, and how far."""
    deps = request.deps
    rows = await asyncio.gather(*(row(runner, deps) for runner in deps.hub.runners.values()))
    return respond({"projections": rows})


async def projection(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}: what stands for it, how far each of its versions is, and where the live one stands."""
    deps, name = request.deps, name_of(request)
    runner = deps.hub.runners.get(name)
    live = None if runner is None else await row(runner, deps)
    return respond({"projection": name, **state_of(deps, name), "now": live})


async def row(runner: Runner, deps: Deps) -> dict[str, Any]:
    """One projection, and how far its live version is."""
    projection = runner.hosted.projection
    about: dict[str, Any] = {
        "projection": runner.name,
        "source": "topics" if projection.spec.topics else "rekeyed" if projection.rekeyed else "history",
        "merged": projection.merged,
        "category": projection.spec.category,
        "topics": list(runner.hosted.topics),
        "types": sorted(projection.types),
        "indexes": sorted(projection.spec.indexes),
        "perspectives": sorted(deps.app.perspectives_of(runner.name)),
        "epoch": runner.epoch.token if runner.epoch else None,
        "control": state_of(deps, runner.name),
        "owns": sorted(deps.hub.owned),
    }
    try:
        found = await standing(runner, deps.watermarks)
    except NervError as error:
        nothing = dict.fromkeys(("lag", "folded", "entities", "parked", "size"))
        unknown: dict[str, Any] = nothing | {"hops": {}, "ready": False}
        return {**about, **unknown, "fault": runner.fault or error.detail}
    if found.lag == 0 and runner.rebuilding is not None and runner.rebuilding.epoch == runner.epoch:
        runner.rebuilding.ready = True  # nothing is missing: no need to wait for the next look
    return {
        **about,
        "lag": found.lag,
        "hops": dict(found.hops),
        "folded": found.progress.folded,
        "entities": found.progress.entities,
        "parked": found.progress.parked,
        "size": found.progress.size,
        **_here(runner, found),
        "ready": runner.fault is None,
        "fault": runner.fault,
    }


def _here(runner: Runner, found: Standing) -> dict[str, Any]:
    """What this replica knows of its own work: its rate, how often it started over, and its partitions."""
    meter = runner.hosted.meter
    partitions = [
        {
            "partition": p,
            "position": found.positions[p],
            "lag": lag,
            "seconds_behind": meter.seconds_behind(p) if lag else 0.0,
            "rate": meter.rate(p),
            "errors": meter.errors(p),
            "parked": found.progress.parked_in.get(p, 0),
            "size": found.progress.size_in.get(p, 0),
        }
        for p, lag in found.partitions.items()
    ]
    return {
        "rate": meter.rate(), "failures": runner.failures, "started_in": runner.started_in, "partitions": partitions
    }  # fmt: skip


async def parked(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}/parked: the keys that are parked, and at which event each is."""
    asked = understood(request)
    runner = asked.runner
    if (epoch := runner.epoch) is None:
        raise Unavailable(f"projection {runner.name} has not started yet", retry_after=0.5)
    views = runner.hosted.views
    found = await views.page(epoch, None, request.get(LIMIT), parked=True)
    rows = [_parked(key, view, asked.seen) for key, view in found if view.parked is not None]
    subscription = versioned(f"fold-{runner.name}", runner.hosted.version)
    count = (await views.progress(epoch)).parked
    return respond({"projection": runner.name, "subscription": subscription, "all": count, "parked": rows})


def _parked(key: str, view: View, seen: Seen) -> dict[str, Any]:
    said = view.parked or {}
    return {"key": key, "partition": Origin.parse(said["position"]).partition, "version": view.version} | (
        seen.parked(view) or {}
    )


def about(deps: Deps) -> About:
    """What a replica of the projector says of itself."""
    settings = deps.settings
    specs = deps.app.projections.values()
    rekeyed = [settings.rekeyed(spec.name) for spec in specs if spec.rekeyed]
    read = {topic for spec in specs for topic in sources_of(settings, deps.app, spec).topics}
    return About(
        settings,
        deps.app,
        reads=[settings.control, *sorted(read), *rekeyed],
        writes=[*rekeyed, *map(settings.changes, deps.app.projections), settings.control, settings.dead_letters],
        owns=sorted(deps.hub.owned),
    )


ROUTES = (
    Route("GET", "/v1/projections", projections, "views:read"),
    Route("GET", "/v1/projections/{projection}", projection, "views:read", of="projection"),
    Route("GET", "/v1/projections/{projection}/parked", parked, "views:read", (LIMIT, PERSPECTIVE), of="projection"),
)
