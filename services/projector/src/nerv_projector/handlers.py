# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of the projector; the table of routes is at the foot."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from nerv.app import App
from nerv.errors import Invalid, NervError, NotFound, SchemaMismatch
from nerv.projections import Projection
from nerv.protocols.views import View
from nerv.service import Request, Route, respond
from nerv.service.describe import describe
from nerv.service.params import instant, number, text
from nerv.types import check_id, format_instant
from nerv_projector import reading
from nerv_projector.hub import Hub
from nerv_projector.lag import standing
from nerv_projector.model import NOTHING
from nerv_projector.runner import Runner
from nerv_projector.settings import ProjectorSettings
from nerv_projector.timetravel import Instant, TimeTravel
from nerv_projector.watermarks import Watermarks

PAGE_LIMIT = 1000


PERSPECTIVE = text("perspective", "The view through the eyes of this kind of reader.")
FIELDS = text("fields", "Only these fields of the perspective, with commas between.", {"type": "string"})
AS_OF = instant("as_of", "Valid time: as it was at this instant.")
KNOWN_AT = instant("known_at", "Recorded time: as it was known at this instant.")
LIMIT = number("limit", 100, "Views at most.", low=1, high=PAGE_LIMIT)
CURSOR = text("cursor", "Where the next page begins: the `next` of the one before.", {"type": "string"})
VIEW = (PERSPECTIVE, FIELDS, AS_OF, KNOWN_AT)


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: ProjectorSettings
    app: App
    hub: Hub
    watermarks: Watermarks
    travel: TimeTravel


@dataclass(frozen=True, slots=True)
class Asked:
    """What a read of views asks for, checked."""

    runner: Runner
    perspective: str | None
    dump: Callable[[Any], dict[str, Any]] | None  # of the perspective, for the fields asked for and this reader
    instant: Instant

    @property
    def projection(self) -> Projection[Any]:
        """The projection that is read."""
        return self.runner.hosted.projection

    @property
    def travels(self) -> bool:
        """Whether it is a read as of an instant."""
        return self.instant.as_of is not None or self.instant.known_at is not None

    def head(self) -> dict[str, Any]:
        """What every answer repeats."""
        as_of, known_at = self.instant.as_of, self.instant.known_at
        return {
            "projection": self.runner.name,
            "perspective": self.perspective,
            "as_of": format_instant(as_of) if as_of else None,
            "known_at": format_instant(known_at) if known_at else None,
        }


def _asked(request: Request[Deps]) -> Asked:
    app, name = request.deps.app, request.path("projection")
    runner = request.deps.hub.runners.get(name)
    if runner is None:
        raise NotFound(f"app {app.name} has no projection {name[:100]!r}; it has {_names(app.projections)}")
    dump = _dumper(request, name)
    return Asked(runner, request.get(PERSPECTIVE), dump, Instant(request.get(AS_OF), request.get(KNOWN_AT)))


def _dumper(request: Request[Deps], projection: str) -> Callable[[Any], dict[str, Any]] | None:
    perspective, fields = request.get(PERSPECTIVE), request.get(FIELDS)
    known = request.deps.app.perspectives_of(projection)
    if perspective is None:
        if fields is not None:
            raise Invalid("fields are those of a perspective; name it, too: ?perspective=...&fields=...")
        for scope in sorted({scope for model in known.values() for scope in model.scopes()}):
            request.principal.require(scope)  # or the state as it is would show what its perspectives redact
        return None
    if perspective not in known:
        raise NotFound(f"projection {projection} has no perspective {perspective[:100]!r}; it has {_names(known)}")
    names = None if fields is None else fields.split(",")
    return known[perspective].dumper(fields=names, viewer=request.principal)


def _names(known: Mapping[str, Any]) -> str:
    return ", ".join(sorted(known)) or "none"


def _document(asked: Asked, key: str, view: View) -> dict[str, Any]:
    """A view as it is answered; through the perspective, if one is asked for."""
    state: Any = orjson.Fragment(view.state)
    if asked.dump is not None and view.state != NOTHING:
        try:
            state = asked.dump(asked.projection.load(view.state))
        except SchemaMismatch as error:
            text = f"the state of {asked.runner.name}/{key} does not fit perspective {asked.perspective}"
            raise SchemaMismatch(text, errors=error.errors) from None
    document = {**asked.head(), "key": key, "version": view.version, "state": state}
    return document if view.parked is None else {**document, "parked": dict(view.parked)}


async def get_view(request: Request[Deps]) -> Response:
    """GET /v1/views/{projection}/{key}: one view, live or as of an instant."""
    asked = _asked(request)
    key = check_id(request.path("key"), "key")
    if asked.travels:
        view = await request.deps.travel.view(asked.projection, key, asked.instant)
    else:
        views = asked.runner.hosted.views
        epoch = asked.runner.epoch or await views.epoch()
        view = None if epoch is None else await reading.one(asked.projection, views, epoch, key)
    if view is None or not reading.is_there(view):
        when = "at that instant" if asked.travels else "now"
        raise NotFound(f"projection {asked.runner.name} has no view of {key!r} {when}")
    return respond(_document(asked, key, view), headers={"etag": f'"{view.version}"'})


async def list_views(request: Request[Deps]) -> Response:
    """GET /v1/views/{projection}: a page of views in order of their keys."""
    asked = _asked(request)
    limit = request.get(LIMIT)
    after = _decode(request.get(CURSOR))
    if asked.travels:
        every = await request.deps.travel.views(asked.projection, asked.instant)
        low = b"" if after is None else after.encode()
        page: Sequence[tuple[str, View]] = [(k, v) for k, v in every.items() if k.encode() > low][: limit + 1]
    else:
        views = asked.runner.hosted.views
        epoch = asked.runner.epoch or await views.epoch()
        page = [] if epoch is None else await reading.page(asked.projection, views, epoch, after, limit + 1)
    shown = [_document(asked, key, view) for key, view in page[:limit] if reading.is_there(view)]
    token = _encode(page[limit - 1][0]) if len(page) > limit else None
    return respond({**asked.head(), "views": shown, "next": token})


async def projections(request: Request[Deps]) -> Response:
    """GET /v1/projections: what is folded from what, and how far."""
    deps = request.deps
    rows = await asyncio.gather(*(_row(runner, deps) for runner in deps.hub.runners.values()))
    return respond({"projections": rows})


async def _row(runner: Runner, deps: Deps) -> dict[str, Any]:
    projection = runner.hosted.projection
    row: dict[str, Any] = {
        "projection": runner.name,
        "source": "rekeyed" if projection.rekeyed else "history",
        "merged": projection.merged,
        "category": projection.spec.category,
        "topics": list(runner.hosted.topics),
        "types": sorted(projection.types),
        "perspectives": sorted(deps.app.perspectives_of(runner.name)),
        "epoch": runner.epoch.token if runner.epoch else None,
        "owns": sorted(deps.hub.owned),
    }
    try:
        found = await standing(runner, deps.watermarks)
    except NervError as error:
        unknown: dict[str, Any] = {"lag": None, "hops": {}, "folded": None, "entities": None, "ready": False}
        return {**row, **unknown, "fault": runner.fault or error.detail}
    return {
        **row,
        "lag": found.lag,
        "hops": dict(found.hops),
        "folded": found.progress.folded,
        "entities": found.progress.entities,
        "ready": runner.fault is None,
        "fault": runner.fault,
    }


async def well_known(request: Request[Deps]) -> Response:
    """GET /.well-known/nerv: what this replica is."""
    deps = request.deps
    settings = deps.settings
    rekeyed = [settings.rekeyed(name) for name, spec in deps.app.projections.items() if spec.key is not None]
    document = describe(
        "projector",
        settings,
        deps.app,
        reads=[settings.history, *rekeyed],
        writes=[*rekeyed, *map(settings.changes, deps.app.projections), settings.dead_letters],
        owns=sorted(deps.hub.owned),
    )
    return respond(document)


def _encode(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _decode(token: str | None) -> str | None:
    if token is None:
        return None
    try:
        return check_id(base64.b64decode(token, altchars=b"-_", validate=True).decode(), "cursor")
    except (binascii.Error, ValueError):
        raise Invalid("cursor must be the `next` of an earlier answer") from None


ROUTES = (
    Route("GET", "/v1/views/{projection}", list_views, "views:read", (*VIEW, LIMIT, CURSOR), of="projection"),
    Route("GET", "/v1/views/{projection}/{key:path}", get_view, "views:read", VIEW, of="projection"),
    Route("GET", "/v1/projections", projections, "views:read"),
    Route("GET", "/.well-known/nerv", well_known, "mesh:read"),
)
