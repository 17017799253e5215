# SPDX-License-Identifier: Apache-2.0
"""What operators do with projections over HTTP: rebuild, compare, switch, go back, pause, resume, skip."""

from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from nerv.errors import Conflict, Invalid, NotFound, Unavailable
from nerv.protocols.views import Epoch, Views
from nerv.service import Request, Route, respond
from nerv.service.params import instant, optional_number, text
from nerv_projector.control import Control
from nerv_projector.control import model as control
from nerv_projector.control.model import Step
from nerv_projector.deps import Deps
from nerv_projector.parity import compare
from nerv_projector.runner import Runner

SINCE = instant("since", "Fold what was recorded from this instant on, and nothing before it.")
VERSION = optional_number("version", "Of which version; asking again for what stands already changes nothing.", low=1)
EVENT = text("event", "The id of the event.")
WRITE = "projections:write"


def state_of(deps: Deps, name: str) -> dict[str, Any]:
    """What stands for a projection, and how far each version is here."""
    stands = deps.control.of(name)
    versions = [_version(number, deps.hub.version(name, number)) for number in sorted(stands.versions)]
    code = deps.hub.fingerprints[name]
    return {**asdict(stands), "skipped": sorted(stands.skipped), "versions": versions, "fingerprint": code}


def _version(number: int, runner: Runner | None) -> dict[str, Any]:
    watched = None if runner is None else runner.rebuilding
    if runner is None or watched is None:
        unknown = dict.fromkeys(("seconds_left", "epoch", "changed", "fingerprint"))
        return {"version": number, "ready": False, "percent": 0, **unknown}
    return {
        "version": number,
        "ready": watched.ready,
        "percent": watched.way.percent,
        "seconds_left": watched.seconds_left(),
        "epoch": watched.epoch.token,
        "changed": runner.hosted.changed(watched.epoch),
        "fingerprint": watched.epoch.fingerprint,
    }


def name_of(request: Request[Deps]) -> str:
    """The projection that is meant. Raises NotFound."""
    name = request.path("projection")
    if name not in request.deps.app.projections:
        known = ", ".join(sorted(request.deps.app.projections)) or "none"
        raise NotFound(f"app {request.deps.app.name} has no projection {name[:100]!r}; it has {known}")
    return name


async def _decided(request: Request[Deps], step: Step) -> Response:
    name = name_of(request)
    await request.deps.control.decide(name, step)
    return respond({"projection": name, **state_of(request.deps, name)})


def _number(request: Request[Deps]) -> int:
    number = request.get(VERSION)
    if number is None:
        raise Invalid("name the version that is meant, so that the request can be repeated: ?version=2")
    return number


async def rebuild(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/rebuild: begin another version beside the live one."""
    since = request.get(SINCE)
    ms = None if since is None else int(since.timestamp() * 1000)
    return await _decided(request, control.rebuild(_number(request), ms))


async def switch(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/switch: the version that was built becomes live, in one step."""
    name, number = name_of(request), _number(request)
    if request.deps.control.of(name).building == number:
        built = request.deps.hub.version(name, number)
        if built is None or not built.ready:
            percent = 0 if built is None or built.rebuilding is None else built.rebuilding.way.percent
            raise Conflict(f"version {number} of {name} is at {percent} %; switch when it has caught up")
    return await _decided(request, control.switch(number))


async def cancel(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/cancel: give up what is being built."""
    return await _decided(request, control.cancel(_number(request)))


async def rollback(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/rollback: go back to what was live before."""
    return await _decided(request, control.rollback(_number(request)))


async def release(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/release: keep it no longer to go back to."""
    return await _decided(request, control.release(_number(request)))


async def pause(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/pause: fold nothing until it is resumed."""
    return await _decided(request, control.pause)


async def resume(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/resume: fold on."""
    return await _decided(request, control.resume)


async def skip(request: Request[Deps]) -> Response:
    """POST /v1/projections/{projection}/skip: an event that no fold takes from now on."""
    event = request.get(EVENT)
    if event is None:
        raise Invalid("name the event that is to be skipped: ?event=ID")
    return await _decided(request, control.skip(event))


async def parity(request: Request[Deps]) -> Response:
    """GET /v1/projections/{projection}/parity: what differs between the live version and the other one."""
    name, deps = name_of(request), request.deps
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
    Route("GET", f"{_ONE}/parity", parity, "views:read", of="projection"),
    Route("POST", f"{_ONE}/rebuild", rebuild, WRITE, (VERSION, SINCE), of="projection"),
    Route("POST", f"{_ONE}/switch", switch, WRITE, (VERSION,), of="projection"),
    Route("POST", f"{_ONE}/cancel", cancel, WRITE, (VERSION,), of="projection"),
    Route("POST", f"{_ONE}/rollback", rollback, WRITE, (VERSION,), of="projection"),
    Route("POST", f"{_ONE}/release", release, WRITE, (VERSION,), of="projection"),
    Route("POST", f"{_ONE}/pause", pause, WRITE, of="projection"),
    Route("POST", f"{_ONE}/resume", resume, WRITE, of="projection"),
    Route("POST", f"{_ONE}/skip", skip, WRITE, (EVENT,), of="projection"),
)
