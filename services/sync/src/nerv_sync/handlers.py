# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of sync; the table of routes is at the foot."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Strict, ValidationError
from starlette.responses import Response

from nerv.app import App
from nerv.errors import Invalid
from nerv.limits import check_json_depth
from nerv.service import JSON, Request, Route, respond
from nerv.service.describe import describe
from nerv.service.params import IDEMPOTENCY_KEY, Body
from nerv.types import new_event_id
from nerv_sync.journal import Journal, run_stream, source_stream
from nerv_sync.model import Order
from nerv_sync.runs import Runs
from nerv_sync.settings import SyncSettings
from nerv_sync.sources import Sources

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: SyncSettings
    app: App
    sources: Sources
    runs: Runs
    journal: Journal


class Options(BaseModel):
    """The body of an order."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Annotated[bool, Strict()] = False
    confirm_deletes: Annotated[bool, Strict()] = False


async def list_sources(request: Request[Deps]) -> Response:
    """GET /v1/syncs: the sources, each with its latest run."""
    deps = request.deps
    rows = []
    for name in deps.sources.names():
        latest = await deps.journal.runs(name, 1)
        rows.append({**deps.sources.row(name), "latest": latest[0] if latest else None})
    return respond({"syncs": rows})


async def order_run(request: Request[Deps]) -> Response:
    """POST /v1/syncs/{source}/runs: perform a run; its id is the Idempotency-Key. 202 when it goes on after the answer."""
    deps, name = request.deps, request.path("source")
    deps.sources.make(name)
    options = _options(request)
    key = request.get(IDEMPOTENCY_KEY)
    order = Order(name, new_event_id() if key is None else _run(key), options.dry_run, options.confirm_deletes)
    document = await deps.runs.order(order)
    location = {"location": f"/v1/syncs/{name}/runs/{order.run}"}
    return respond(document, 202 if document["status"] == "running" else 200, location)


async def list_runs(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{source}/runs: the latest runs, the newest first."""
    deps, name = request.deps, request.path("source")
    deps.sources.make(name)
    return respond({"runs": await deps.journal.runs(name)})


async def show_run(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{source}/runs/{run}: a run as it stands, also after a restart."""
    deps, name = request.deps, request.path("source")
    deps.sources.make(name)
    return respond(await deps.journal.show(name, _run(request.path("run"))))


async def well_known(request: Request[Deps]) -> Response:
    """GET /.well-known/nerv: what this replica is."""
    deps, names = request.deps, request.deps.sources.names()
    streams = [f"{deps.sources.make(name).category}-*" for name in names]
    journals = [text for name in names for text in (source_stream(name), run_stream(name, "*"))]
    return respond(describe("sync", deps.settings, deps.app, reads=streams + journals, writes=streams + journals))


def _options(request: Request[Deps]) -> Options:
    if not request.body:
        return Options()
    check_json_depth(request.body, request.deps.settings.limits.json_depth)
    try:
        return Options.model_validate_json(request.body)
    except ValidationError as error:
        faults = [
            {"path": "/" + "/".join(map(str, fault["loc"])), "detail": fault["msg"]}
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise Invalid(
            'the body must be JSON like {"dry_run": true, "confirm_deletes": false}', errors=faults[:20]
        ) from None


def _run(text: str) -> str:
    if not _RUN.fullmatch(text):
        raise Invalid("a run's id (Idempotency-Key) has 1 to 128 letters, digits, dots, colons, dashes, underscores")
    return text


ROUTES = (
    Route("GET", "/v1/syncs", list_sources, "syncs:read"),
    Route(
        "POST",
        "/v1/syncs/{source}/runs",
        order_run,
        "syncs:run",
        (IDEMPOTENCY_KEY,),
        Body({JSON: Options.model_json_schema()}, "How to run.", required=False),
        statuses=(200, 202),
        of="source",
    ),
    Route("GET", "/v1/syncs/{source}/runs", list_runs, "syncs:read", of="source"),
    Route("GET", "/v1/syncs/{source}/runs/{run}", show_run, "syncs:read", of="source"),
    Route("GET", "/.well-known/nerv", well_known, "mesh:read"),
)
