# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of the projector; the table of routes is at the foot."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from nerv.errors import Gone, Invalid, NervError, NotFound, SchemaMismatch, TooLarge, Unavailable
from nerv.projections import Projection
from nerv.protocols.views import Epoch, View
from nerv.service import Request, Route, respond
from nerv.service.describe import describe
from nerv.service.params import LAST_EVENT_ID, flag, header, instant, number, text
from nerv.types import check_id, format_instant
from nerv_projector import reading
from nerv_projector.choosing import chosen, expression
from nerv_projector.deps import Deps
from nerv_projector.differing import differences
from nerv_projector.lag import Standing, standing
from nerv_projector.live import KEYS as FOLLOWED
from nerv_projector.model import NOTHING
from nerv_projector.operations import state_of
from nerv_projector.positions import covered, positions
from nerv_projector.runner import Runner
from nerv_projector.timetravel import Instant

PAGE_LIMIT = 1000
EVENT_STREAM = "text/event-stream"


PERSPECTIVE = text("perspective", "The view through the eyes of this kind of reader.")
FIELDS = text("fields", "Only these fields of the perspective, with commas between.", {"type": "string"})
AS_OF = instant("as_of", "Valid time: as it was at this instant.")
KNOWN_AT = instant("known_at", "Recorded time: as it was known at this instant.")
LIMIT = number("limit", 100, "Views at most.", low=1, high=PAGE_LIMIT)
CURSOR = text("cursor", "Where the next page begins: the `next` of the one before.", {"type": "string"})
STALE = flag("stale", "Answer while the views are being rebuilt, too, with what is there.")
MIN_POSITION = text("min_position", "Wait until the views show all up to here: 0:17,3:5, as an append answers it.")
FROM = instant("from", "The first of two instants.")
TO = instant("to", "The second of two instants.")
KNOWN = flag("known", "The instants are of recorded time: what was known then. Otherwise of valid time.")
BETWEEN = (FROM, TO, KNOWN, PERSPECTIVE, FIELDS, AS_OF, KNOWN_AT)
WHERE = text(
    "where", "Only views whose state satisfies this JMESPath expression: at == 'JFK' && n > `3`.", {"type": "string"}
)
ORDER = text(
    "order",
    "In order of what this JMESPath expression finds in a state.",
    {"type": "string"},
)
KEYS = text("keys", "These views only, with commas between.", {"type": "string"})
IF_NONE_MATCH = header("if-none-match", "An `etag`: where it still holds, the answer is 304.")
VIEW = (PERSPECTIVE, FIELDS, AS_OF, KNOWN_AT, STALE, MIN_POSITION)


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


async def _asked(request: Request[Deps]) -> Asked:
    """What is asked for, once it can be answered: the views are all there, and as new as the caller wants them."""
    asked = _understood(request)
    if asked.travels:
        return asked
    if (wanted := request.get(MIN_POSITION)) is not None:
        await covered(asked.runner, request.deps.watermarks, positions(wanted))
    if not asked.runner.ready:
        await asked.runner.look()  # a version that has just gone live may have caught up since the last check
    if not (asked.runner.ready or request.get(STALE)):
        watched = asked.runner.rebuilding
        percent = 0 if watched is None else watched.way.percent
        raise Unavailable(
            f"projection {asked.runner.name} is rebuilding, {percent} %; stale=true answers with what is there",
            retry_after=1.0,
        )
    return asked


def _understood(request: Request[Deps]) -> Asked:
    app, name = request.deps.app, request.path("projection")
    runner = request.deps.hub.runners.get(name)
    if runner is None and name in app.projections:
        raise Unavailable(f"the live version of {name} has not started here yet", retry_after=0.5)
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
        _require_all(request, projection)  # or the state as it is would show what its perspectives redact
        return None
    if perspective not in known:
        raise NotFound(f"projection {projection} has no perspective {perspective[:100]!r}; it has {_names(known)}")
    names = None if fields is None else fields.split(",")
    return known[perspective].dumper(fields=names, viewer=request.principal)


def _require_all(request: Request[Deps], projection: str) -> None:
    known = request.deps.app.perspectives_of(projection)
    for scope in sorted({scope for model in known.values() for scope in model.scopes()}):
        request.principal.require(scope)


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


def _etag(request: Request[Deps], asked: Asked, epoch: Epoch, view: View) -> str:
    """By all that an answer depends on: the view, whether it is parked, and what of the perspective this reader may see."""
    parts = [epoch.token, str(view.version)]
    if view.parked is not None:
        parts.append("parked")  # which leaves the version as it was
    if asked.perspective is not None:
        scopes = request.deps.app.perspectives_of(asked.runner.name)[asked.perspective].scopes()
        parts += sorted(scope for scope in scopes if request.principal.may(scope))
    return f'"{".".join(parts)}"'


async def get_view(request: Request[Deps]) -> Response:
    """GET /v1/views/{projection}/{key}: one view, live or as of an instant."""
    asked = await _asked(request)
    key = check_id(request.path("key"), "key")
    etag: str | None = None
    epoch: Epoch | None = None
    if asked.travels:
        view = await request.deps.travel.view(asked.projection, key, asked.instant)
    else:
        views = asked.runner.hosted.views
        epoch = asked.runner.epoch or await views.epoch()
        view = None if epoch is None else await reading.one(asked.projection, views, epoch, key)
        if epoch is not None and view is not None:
            etag = _etag(request, asked, epoch, view)
            if etag in (request.get(IF_NONE_MATCH) or ""):
                return Response(status_code=304, headers={"etag": etag})
    if view is None or not reading.is_there(view):
        when = "at that instant" if asked.travels else "now"
        raise NotFound(f"projection {asked.runner.name} has no view of {key!r} {when}")
    headers = {"etag": etag or f'"{view.version}"'}
    return respond({**_document(asked, key, view), "epoch": None if epoch is None else epoch.token}, headers=headers)


async def list_views(request: Request[Deps]) -> Response:
    """GET /v1/views/{projection}: a page of views in order of their keys."""
    asked = await _asked(request)
    limit = request.get(LIMIT)
    if (keys := request.get(KEYS)) is not None:
        return await _chosen(asked, keys)
    if request.get(WHERE) is not None or request.get(ORDER) is not None:
        return await _filtered(request, asked, limit)
    version, after = _decode(request.get(CURSOR))
    runner = asked.runner
    epoch: Epoch | None = None
    if asked.travels:
        every = await request.deps.travel.views(asked.projection, asked.instant)
        low = b"" if after is None else after.encode()
        page: Sequence[tuple[str, View]] = [(k, v) for k, v in every.items() if k.encode() > low][: limit + 1]
    else:
        runner = _paged(request.deps, asked.runner, version)
        views = runner.hosted.views
        epoch = runner.epoch or await views.epoch()
        page = [] if epoch is None else await reading.page(asked.projection, views, epoch, after, limit + 1)
    shown = [_document(asked, key, view) for key, view in page[:limit] if reading.is_there(view)]
    token = _encode(runner.hosted.version, page[limit - 1][0]) if len(page) > limit else None
    return respond({**asked.head(), "epoch": None if epoch is None else epoch.token, "views": shown, "next": token})


async def _filtered(request: Request[Deps], asked: Asked, limit: int) -> Response:
    """The views that are asked for by what is in them, `limit` at most: the first ones in order. There is no next page."""
    epoch = asked.runner.epoch
    if asked.travels:
        raise Invalid("where and order are of the views of now; leave as_of and known_at out")
    if epoch is None:
        raise Unavailable(f"projection {asked.runner.name} has not started yet", retry_after=0.5)
    _require_all(request, asked.runner.name)  # or an expression would tell what a perspective redacts
    where, order = (
        None if (said := request.get(one)) is None else expression(said, one.name) for one in (WHERE, ORDER)
    )
    every = reading.every(asked.projection, asked.runner.hosted.views, epoch)
    found = await chosen(every, where, order, request.deps.settings.projector.choose)
    shown = [_document(asked, key, view) for key, view in found[:limit]]
    return respond({**asked.head(), "epoch": epoch.token, "views": shown, "found": len(found), "next": None})


async def _chosen(asked: Asked, text: str) -> Response:
    """The views of these keys, in their order; those that are not there are left out."""
    keys = [check_id(key, "keys") for key in text.split(",")]
    if len(keys) > PAGE_LIMIT:
        raise TooLarge(f"keys names {len(keys)} views; the limit is {PAGE_LIMIT}")
    if asked.travels:
        raise Invalid("keys are those of now; ask for one view as of an instant, or for all")
    epoch = asked.runner.epoch
    found = {} if epoch is None else await asked.runner.hosted.views.load(epoch, keys)
    shown = [_document(asked, key, found[key]) for key in keys if key in found and reading.is_there(found[key])]
    return respond({**asked.head(), "epoch": epoch.token if epoch else None, "views": shown, "next": None})


def _paged(deps: Deps, live: Runner, version: int | None) -> Runner:
    """The version that a cursor pages through: the one that it began with, or a page would mix two."""
    if version is None or version == live.hosted.version:
        return live
    found = deps.hub.version(live.name, version)
    if found is None:
        raise Gone(
            f"version {version} of {live.name} is gone, and this cursor pages through it; begin with the first page"
        )
    return found


async def diff_views(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}/diff: what changed in the whole view between two instants."""
    asked = _understood(request)
    _require_all(request, asked.runner.name)
    start, end = request.get(FROM), request.get(TO)
    if start is None or end is None:
        raise Invalid("name both instants: ?from=...&to=...")
    instants = (Instant(known_at=one) if request.get(KNOWN) else Instant(as_of=one) for one in (start, end))
    before, after = [await request.deps.travel.views(asked.projection, one) for one in instants]
    head = {"projection": asked.runner.name, "from": format_instant(start), "to": format_instant(end)}
    return respond({**head, "known": request.get(KNOWN), "differences": differences(before, after)})


async def follow_views(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}/changes: these views, and then every change of them, as it comes."""
    asked = await _asked(request)
    keys = [check_id(key, "keys") for key in (request.get(KEYS) or "").split(",") if key]
    if not keys or len(keys) > FOLLOWED:
        raise Invalid(f"name the views to follow, {FOLLOWED} at most: ?keys=a,b")
    if asked.projection.merged:
        raise Invalid(f"the state of {asked.runner.name} is merged when it is read; it has no deltas of its own")
    name, hub = asked.runner.name, request.deps.hub

    def show(key: str, view: View) -> bytes:
        epoch = hub.runners[name].epoch
        return orjson.dumps({**_document(asked, key, view), "epoch": epoch.token if epoch else None})

    pieces = request.deps.live.follow(
        lambda: hub.runners[name], keys, show, deltas=asked.dump is None, last=request.get(LAST_EVENT_ID)
    )
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(pieces, 200, headers, EVENT_STREAM)


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
        "control": state_of(deps, runner.name),
        "owns": sorted(deps.hub.owned),
    }
    try:
        found = await standing(runner, deps.watermarks)
    except NervError as error:
        unknown: dict[str, Any] = dict.fromkeys(("lag", "folded", "entities", "parked")) | {"hops": {}, "ready": False}
        return {**row, **unknown, "fault": runner.fault or error.detail}
    if found.lag == 0 and runner.rebuilding is not None and runner.rebuilding.epoch == runner.epoch:
        runner.rebuilding.ready = True  # nothing is missing: no need to wait for the next look
    return {
        **row,
        "lag": found.lag,
        "hops": dict(found.hops),
        "folded": found.progress.folded,
        "entities": found.progress.entities,
        "parked": found.progress.parked,
        **_here(runner, found),
        "ready": runner.fault is None,
        "fault": runner.fault,
    }


def _here(runner: Runner, found: Standing) -> dict[str, Any]:
    """What this replica knows of its own work: its rate, how often it started over, and its partitions."""
    meter = runner.hosted.meter
    partitions = [
        {"partition": p, "lag": lag, "seconds_behind": meter.seconds_behind(p) if lag else 0.0}
        for p, lag in found.partitions.items()
    ]
    return {
        "rate": meter.rate(), "failures": runner.failures, "started_in": runner.started_in, "partitions": partitions
    }  # fmt: skip


async def well_known(request: Request[Deps]) -> Response:
    """GET /.well-known/nerv: what this replica is."""
    deps = request.deps
    settings = deps.settings
    rekeyed = [settings.rekeyed(name) for name, spec in deps.app.projections.items() if spec.key is not None]
    document = describe(
        "projector",
        settings,
        deps.app,
        reads=[settings.history, settings.control, *rekeyed],
        writes=[*rekeyed, *map(settings.changes, deps.app.projections), settings.control, settings.dead_letters],
        owns=sorted(deps.hub.owned),
    )
    return respond(document)


def _encode(version: int, key: str) -> str:
    return base64.urlsafe_b64encode(f"{version}/{key}".encode()).decode()


def _decode(token: str | None) -> tuple[int | None, str | None]:
    if token is None:
        return None, None
    try:
        version, _, key = base64.b64decode(token, altchars=b"-_", validate=True).decode().partition("/")
        return int(version), check_id(key, "cursor")
    except (binascii.Error, ValueError):
        raise Invalid("cursor must be the `next` of an earlier answer") from None


ROUTES = (
    Route(
        "GET",
        "/v1/views/{projection}",
        list_views,
        "views:read",
        (*VIEW, LIMIT, CURSOR, KEYS, WHERE, ORDER),
        of="projection",
    ),
    Route("GET", "/v1/views/{projection}/{key:path}", get_view, "views:read", (*VIEW, IF_NONE_MATCH), of="projection"),
    Route("GET", "/v1/projections", projections, "views:read"),
    Route("GET", "/v1/projections/{projection}/diff", diff_views, "views:read", BETWEEN, of="projection"),
    Route(
        "GET",
        "/v1/projections/{projection}/changes",
        follow_views,
        "views:read",
        (PERSPECTIVE, FIELDS, STALE, MIN_POSITION, KEYS, LAST_EVENT_ID, AS_OF, KNOWN_AT),
        gives=(EVENT_STREAM,),
        of="projection",
    ),
    Route("GET", "/.well-known/nerv", well_known, "mesh:read"),
)
