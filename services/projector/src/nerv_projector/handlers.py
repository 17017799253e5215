# SPDX-License-Identifier: Apache-2.0
"""Reads of views over HTTP; the table of routes is at the foot."""

from collections.abc import Sequence
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from nerv.errors import Conflict, Gone, Invalid, NotFound, TooLarge, Unavailable
from nerv.projections.indexes import span
from nerv.protocols.views import Epoch, View
from nerv.service import Request, Route, respond
from nerv.service.params import LAST_EVENT_ID
from nerv.types import check_id, format_instant
from nerv_projector import asking, cursors, introspecting, observing, operations, reading
from nerv_projector.asking import Asked
from nerv_projector.choosing import chosen, expression, satisfies
from nerv_projector.deps import Deps
from nerv_projector.differing import differences
from nerv_projector.finding import found
from nerv_projector.live import KEYS as FOLLOWED
from nerv_projector.runner import Runner
from nerv_projector.seeing import check_index
from nerv_projector.timetravel import Instant

EVENT_STREAM = "text/event-stream"


def _etag(asked: Asked, epoch: Epoch, view: View) -> str:
    """By all that an answer depends on: the view, whether it is parked, and what of the perspective this reader may see."""
    parts = [epoch.token, str(view.version)]
    if view.parked is not None:
        parts.append("parked")  # which leaves the version as it was
    return f'"{".".join([*parts, *asked.seen.mark()])}"'


async def get_view(request: Request[Deps]) -> Response:
    """GET /v1/views/{projection}/{key}: one view, live or as of an instant."""
    asked = await asking.ready(request)
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
            etag = _etag(asked, epoch, view)
            if etag in (request.get(asking.IF_NONE_MATCH) or ""):
                return Response(status_code=304, headers={"etag": etag})
    if view is None or not reading.is_there(view):
        when = "at that instant" if asked.travels else "now"
        raise NotFound(f"projection {asked.runner.name} has no view of {key!r} {when}")
    headers = {"etag": etag or f'"{view.version}"'}
    return respond({**asked.document(key, view), "epoch": None if epoch is None else epoch.token}, headers=headers)


async def list_views(request: Request[Deps]) -> Response:
    """GET /v1/views/{projection}: a page of views in order of their keys, or of an index; some, by what they are."""
    asked = await asking.ready(request)
    limit = request.get(asking.LIMIT)
    if request.get(asking.INDEX) is not None:
        return await _by_index(request, asked, limit)
    for name in asking.OF_INDEX:
        if request.query(name) is not None:
            raise Invalid(f"{name} is of an index; name it, too: ?index=...&{name}=...")
    if (keys := request.get(asking.KEYS)) is not None:
        return await _of_keys(asked, keys)
    if request.get(asking.WHERE) is not None or request.get(asking.ORDER) is not None:
        return await _filtered(request, asked, limit)
    version, place = cursors.decode(request.get(asking.CURSOR))
    after = cursors.key_of(place)
    runner = asked.runner
    epoch: Epoch | None = None
    if asked.travels:
        every = await request.deps.travel.views(asked.projection, asked.instant)
        page: Sequence[tuple[str, View]] = [(k, v) for k, v in every.items() if k.encode() > (place or b"")]
        page = page[: limit + 1]
    else:
        runner = _paged(request.deps, asked.runner, version)
        views = runner.hosted.views
        epoch = runner.epoch or await views.epoch()
        page = [] if epoch is None else await reading.page(asked.projection, views, epoch, after, limit + 1)
    there = [(key, view) for key, view in page[:limit] if reading.is_there(view)]
    token = cursors.encode(runner.hosted.version, page[limit - 1][0].encode()) if len(page) > limit else None
    return _listed(asked, epoch, there, next=token)


def _listed(asked: Asked, epoch: Epoch | None, views: Sequence[tuple[str, View]], **more: Any) -> Response:
    shown = [asked.document(key, view) for key, view in views]
    return respond(
        {**asked.head(), "epoch": None if epoch is None else epoch.token, "views": shown, "next": None} | more
    )


async def _by_index(request: Request[Deps], asked: Asked, limit: int) -> Response:
    """A page in order of an index, of the views with some values in it."""
    name = request.get(asking.INDEX) or ""
    spec = check_index(request.deps.app, asked.seen, name)
    if asked.travels:
        raise Invalid("an index is of the views of now; leave as_of and known_at out")
    for one in (asking.KEYS, asking.ORDER):
        if request.get(one) is not None:
            raise Invalid(f"views are given in order of the index; leave {one.name} out")
    words = {one.name: request.get(one) for one in (asking.EQUALS, asking.PREFIX, asking.LOW, asking.HIGH)}
    where, backward = _expression(request, asking.WHERE), request.get(asking.DESCENDING)
    version, place = cursors.decode(request.get(asking.CURSOR))
    wanted = span(name, spec.kind, **words)
    left = wanted if place is None else wanted.beyond(place, backward=backward)
    runner = _paged(request.deps, asked.runner, version)
    epoch = _epoch_with(runner, asked, name)
    page = await found(
        runner.hosted.views, epoch, left, limit, backward=backward, most=request.deps.settings.projector.choose,
        wanted=lambda key, view: where is None or satisfies(where, asked.seen.plain(key, view)),
    )  # fmt: skip
    token = None if page.last is None else cursors.encode(runner.hosted.version, page.last)
    return _listed(asked, epoch, page.views, next=token, index=name)


def _epoch_with(runner: Runner, asked: Asked, index: str) -> Epoch:
    """The epoch of a version whose views stand in the index as it is declared now."""
    epoch = _epoch(runner)
    declared = {} if asked.projection.indexes is None else asked.projection.indexes.digests
    if epoch.indexes.get(index) != declared[index]:
        raise Conflict(
            f"index {index} of {runner.name} was declared, or changed, after these views were begun; "
            f"build it: nerv projections rebuild {runner.name}"
        )
    return epoch


def _epoch(runner: Runner) -> Epoch:
    if runner.epoch is None:
        raise Unavailable(f"projection {runner.name} has not started yet", retry_after=0.5)
    return runner.epoch


def _expression(request: Request[Deps], param: Any) -> Any:
    return None if (said := request.get(param)) is None else expression(said, param.name)


async def _filtered(request: Request[Deps], asked: Asked, limit: int) -> Response:
    """The views that are asked for by what is in them, `limit` at most: the first ones in order. There is no next page.

    An expression is about what the reader is shown, so that it tells nothing of what is not.
    """
    if asked.travels:
        raise Invalid("where and order are of the views of now; leave as_of and known_at out")
    epoch = _epoch(asked.runner)
    where, order = (_expression(request, one) for one in (asking.WHERE, asking.ORDER))
    every = reading.every(asked.projection, asked.runner.hosted.views, epoch)
    most = request.deps.settings.projector.choose
    ordered = await chosen(every, where, order, most, asked.seen.plain)
    return _listed(asked, epoch, ordered[:limit], found=len(ordered))


async def _of_keys(asked: Asked, text: str) -> Response:
    """The views of these keys, in their order; those that are not there are left out."""
    keys = [check_id(key, "keys") for key in text.split(",")]
    if len(keys) > asking.PAGE_LIMIT:
        raise TooLarge(f"keys names {len(keys)} views; the limit is {asking.PAGE_LIMIT}")
    if asked.travels:
        raise Invalid("keys are those of now; ask for one view as of an instant, or for all")
    epoch = asked.runner.epoch
    known = {} if epoch is None else await asked.runner.hosted.views.load(epoch, keys)
    return _listed(asked, epoch, [(key, known[key]) for key in keys if key in known and reading.is_there(known[key])])


def _paged(deps: Deps, live: Runner, version: int | None) -> Runner:
    """The version that a cursor pages through: the one that it began with, or a page would mix two."""
    if version is None or version == live.hosted.version:
        return live
    kept = deps.hub.version(live.name, version)
    if kept is None:
        raise Gone(
            f"version {version} of {live.name} is gone, and this cursor pages through it; begin with the first page"
        )
    return kept


async def diff_views(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}/diff: what changed in the whole view between two instants."""
    asked = asking.understood(request)
    start, end = request.get(asking.FROM), request.get(asking.TO)
    if start is None or end is None:
        raise Invalid("name both instants: ?from=...&to=...")
    instants = (Instant(known_at=one) if request.get(asking.KNOWN) else Instant(as_of=one) for one in (start, end))
    before, after = [await request.deps.travel.views(asked.projection, one) for one in instants]
    rows = differences(*({key: asked.seen.view(key, view) for key, view in one.items()} for one in (before, after)))
    head = {"projection": asked.runner.name, "perspective": asked.seen.perspective}
    between = {"from": format_instant(start), "to": format_instant(end), "known": request.get(asking.KNOWN)}
    return respond({**head, **between, "differences": rows})


async def follow_views(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}/changes: these views, and then every change of them, as it comes."""
    asked = await asking.ready(request)
    keys = [check_id(key, "keys") for key in (request.get(asking.KEYS) or "").split(",") if key]
    if not keys or len(keys) > FOLLOWED:
        raise Invalid(f"name the views to follow, {FOLLOWED} at most: ?keys=a,b")
    if asked.projection.merged:
        raise Invalid(f"the state of {asked.runner.name} is merged when it is read; it has no deltas of its own")
    name, hub = asked.runner.name, request.deps.hub

    def show(key: str, view: View) -> bytes:
        epoch = hub.runners[name].epoch
        return orjson.dumps({**asked.document(key, view), "epoch": epoch.token if epoch else None})

    deltas = asked.seen.dump is None  # which tell of the state as it is
    pieces = request.deps.live.follow(
        lambda: hub.runners[name], keys, show, deltas=deltas, last=request.get(LAST_EVENT_ID)
    )
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(pieces, 200, headers, EVENT_STREAM)


_READ = "views:read"
_VIEWS, _OF = "/v1/views/{projection}", "/v1/projections/{projection}"
ROUTES = (
    Route("GET", _VIEWS, list_views, _READ, asking.LIST, of="projection"),
    Route("GET", f"{_VIEWS}/{{key:path}}", get_view, _READ, (*asking.VIEW, asking.IF_NONE_MATCH), of="projection"),
    Route("GET", f"{_OF}/diff", diff_views, _READ, asking.BETWEEN, of="projection"),
    Route("GET", f"{_OF}/changes", follow_views, _READ, asking.FOLLOW, gives=(EVENT_STREAM,), of="projection"),
    *introspecting.ROUTES,
    *operations.ROUTES,
    *observing.ROUTES,
)
