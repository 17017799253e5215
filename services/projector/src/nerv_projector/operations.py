# SPDX-License-Identifier: Apache-2.0
"""What operators do with projections over HTTP: rebuild, compare, switch, go back, pause, resume, skip."""

from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from nerv.errors import Conflict, Invalid, NotFound, Unavailable
from nerv.protocols.views import Epoch, Views
from nerv.service import Request, Route, respond
from nerv.service.params import instant, text
from nerv_projector.control import Control
from nerv_projector.control import model as control
from nerv_projector.control.model import Step
from nerv_projector.deps import Deps
from nerv_projector.parity import compare
from nerv_projector.runner import Runner

SINCE = instant("since", "Fold what was recorded from this instant on, and nothing before it.")
EVENT = text("event", "The id of the event.")
WRITE = "projections:write"


def state_of(deps: Deps, name: str) -> dict[str, Any]:
    """What stands for a projection, and how far each version is here."""
    stands = deps.control.of(name)
    versions = [_version(number, deps.hub.version(name, number)) for number in sorted(stands.versions)]
    return {**asdict(stands), "skipped": sorted(stands.skipped), "versions": versions}


def _version(number: int, runner: Runner | None) -> dict[str, Any]:
    watched = None if runner is None else runner.rebuilding
    if runner is None or watched is None:
        return {"version": number, "ready": False, "percent": 0, "seconds_left": None, "epoch": None, "changed": None}
    return {
        "version": number,
        "ready": watched.ready,
        "percent": watched.way.percent,
        "seconds_left": watched.seconds_left(),
        "epoch": watched.epoch.token,
        "changed": watched.epoch.fingerprint != runner.hosted.projection.fingerprint,
    }


def _name(request: Request[Deps]) -> str:
    name = request.path("projection")
    if name not in request.deps.app.projections:
        known = ", ".join(sorted(request.deps.app.projections)) or "none"
        raise NotFound(f"app {request.deps.app.name} has no projection {name[:100]!r}; it has {known}")
    return name


async def _decided(request: Request[Deps], step: Step) -> Response:
    name = _name(request)
    await request.deps.control.decide(name, step)
    return respond({"projection": name, **state_of(request.deps, name)})


async def get_control(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}: what stands for it, and how far each of its versions is."""
    name = _name(request)
    return respond({"projection": name, **state_of(request.deps, name)})


async def rebuild(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/rebuild: begin another version beside the live one."""
    since = request.get(SINCE)
    return await _decided(request, control.rebuild(None if since is None else int(since.timestamp() * 1000)))


async def switch(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/switch: the version that was built becomes live, in one step."""
    name = _name(request)
    number = request.deps.control.of(name).building
    if number is None:
        raise Conflict(f"no version of {name} is being built; begin with a rebuild")
    built = request.deps.hub.version(name, number)
    if built is None or not built.ready:
        percent = 0 if built is None or built.rebuilding is None else built.rebuilding.way.percent
        raise Conflict(f"version {number} of {name} is at {percent} %; switch when it has caught up")
    return await _decided(request, control.switch(number))


def _plainly(step: Step, what: str) -> Any:
    async def handler(request: Request[Deps]) -> Response:
        return await _decided(request, step)

    handler.__doc__ = f"POST /v1/projections/{{projection}}/{step.__name__}: {what}."
    return handler


async def skip(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/skip?event=ID: an event that no fold takes from now on."""
    event = request.get(EVENT)
    if event is None:
        raise Invalid("name the event that is to be skipped: ?event=ID")
    return await _decided(request, control.skip(event))


async def parity(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}/parity: what differs between the live version and the other one."""
    name, deps = _name(request), request.deps
    stands: Control = deps.control.of(name)
    other = stands.building or stands.previous
    if other is None:
        raise Conflict(f"{name} has one version only; begin with a rebuild")
    found = await compare(await _views(deps, name, stands.live), await _views(deps, name, other))
    return respond({"projection": name, "live": stands.live, "other": other, **found.to_dict()})


async def _views(deps: Deps, name: str, number: int) -> tuple[Views, Epoch]:
    runner = deps.hub.version(name, number)
    if runner is None or runner.epoch is None:
        raise Unavailable(f"version {number} of {name} has not started yet", retry_after=0.5)
    return runner.hosted.views, runner.epoch


_ONE = "/v1/projections/{projection}"
ROUTES = (
    Route("GET", _ONE, get_control, "views:read"),
    Route("GET", f"{_ONE}/parity", parity, "views:read"),
    Route("POST", f"{_ONE}/rebuild", rebuild, WRITE, (SINCE,)),
    Route("POST", f"{_ONE}/switch", switch, WRITE),
    Route("POST", f"{_ONE}/cancel", _plainly(control.cancel, "give up what is being built"), WRITE),
    Route("POST", f"{_ONE}/rollback", _plainly(control.rollback, "go back to what was live before"), WRITE),
    Route("POST", f"{_ONE}/release", _plainly(control.release, "keep nothing to go back to"), WRITE),
    Route("POST", f"{_ONE}/pause", _plainly(control.pause, "fold nothing until it is resumed"), WRITE),
    Route("POST", f"{_ONE}/resume", _plainly(control.resume, "fold on"), WRITE),
    Route("POST", f"{_ONE}/skip", skip, WRITE, (EVENT,)),
)
