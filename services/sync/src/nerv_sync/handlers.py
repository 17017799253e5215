# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of sync: syncs and their runs; the table of routes is at the foot."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict
from starlette.responses import Response

from nerv.errors import Invalid
from nerv.service import JSON, Request, Route, respond
from nerv.service.describe import About
from nerv.service.params import IDEMPOTENCY_KEY, Body, number
from nerv.types import new_event_id
from nerv_sync import deciding
from nerv_sync.bodies import read_body
from nerv_sync.deps import Deps
from nerv_sync.journal import run_stream, sync_stream
from nerv_sync.model import Order
from nerv_sync.record import RunRecord

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
MOST_OBJECTS = 100_000

LIMIT = number("limit", 1000, "How many are shown.", low=1, high=MOST_OBJECTS)


class Options(BaseModel):
    """The body of an order."""

    model_config = ConfigDict(extra="forbid")

    dry_run: Annotated[bool, Strict()] = False
    confirm_deletes: Annotated[bool, Strict()] = False
    plan: Annotated[str | None, Field(description="Apply exactly this plan, which was approved.")] = None
    where: Annotated[list[str], Field(description="Only objects with field=value.", max_length=20)] = []
    verify: Annotated[bool, Strict(), Field(description="Read both sides whole before.")] = False


async def list_syncs(request: Request[Deps]) -> Response:
    """GET /v1/syncs: the syncs, each with its latest run."""
    deps = request.deps
    rows = []
    for name in deps.pairs.names():
        latest = await deps.journal.runs(name, 1)
        rows.append({**deps.pairs.row(name), "latest": latest[0] if latest else None})
    return respond({"syncs": rows})


async def order_run(request: Request[Deps]) -> Response:
    """POST /v1/syncs/{sync}/runs: perform a run; its id is the Idempotency-Key. 202 when it goes on after the answer."""
    deps, name = request.deps, request.path("sync")
    deps.pairs.check(name)
    options = read_body(request, Options, request.deps.settings.limits) if request.body else Options()
    if options.plan is not None and (options.dry_run or options.where):
        raise Invalid("a plan is applied as it was made: without dry_run and where")
    key = request.get(IDEMPOTENCY_KEY)
    order = Order(
        name,
        new_event_id() if key is None else _run(key),
        options.dry_run,
        options.confirm_deletes,
        options.plan,
        tuple(options.where),
        options.verify,
        request.principal.subject,
    )
    document = await deps.runs.order(order)
    location = {"location": f"/v1/syncs/{name}/runs/{order.run}"}
    return respond(document, 202 if document["status"] == "running" else 200, location)


async def list_runs(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{sync}/runs: the latest runs, the newest first."""
    deps, name = request.deps, request.path("sync")
    deps.pairs.check(name)
    return respond({"runs": await deps.journal.runs(name)})


async def show_run(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{sync}/runs/{run}: a run as it stands, also after a restart."""
    deps, name = request.deps, request.path("sync")
    deps.pairs.check(name)
    return respond(await deps.journal.show(name, _run(request.path("run"))))


async def list_objects(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{sync}/runs/{run}/objects: what became of each object, in the order in which they were written."""
    deps, name, run = request.deps, request.path("sync"), _run(request.path("run"))
    deps.pairs.check(name)
    await deps.journal.show(name, run)
    record = RunRecord(deps.client.streams, deps.clock, Order(name, run), 0)
    return respond({"objects": await record.objects(request.get(LIMIT))})


def about(deps: Deps) -> About:
    """What a replica of sync says of itself."""
    names = deps.pairs.names()
    categories = [row["category"] for name in names if "category" in (row := deps.pairs.row(name))]
    streams = [f"{category}-*" for category in categories]
    streams += [text for name in deps.app.syncs for text in (f"agreed.{name}-*", f"conflict.{name}-*")]
    journals = [text for name in names for text in (sync_stream(name), run_stream(name, "*"))]
    return About(deps.settings, deps.app, reads=streams + journals, writes=streams + journals)


def _run(text: str) -> str:
    if not _RUN.fullmatch(text):
        raise Invalid("a run's id (Idempotency-Key) has 1 to 128 letters, digits, dots, colons, dashes, underscores")
    return text


ROUTES = (
    *deciding.ROUTES,
    Route("GET", "/v1/syncs", list_syncs, "syncs:read"),
    Route(
        "POST",
        "/v1/syncs/{sync}/runs",
        order_run,
        "syncs:run",
        (IDEMPOTENCY_KEY,),
        Body({JSON: Options.model_json_schema()}, "How to run.", required=False),
        statuses=(200, 202),
        of="sync",
    ),
    Route("GET", "/v1/syncs/{sync}/runs", list_runs, "syncs:read", of="sync"),
    Route("GET", "/v1/syncs/{sync}/runs/{run}", show_run, "syncs:read", of="sync"),
    Route("GET", "/v1/syncs/{sync}/runs/{run}/objects", list_objects, "syncs:read", (LIMIT,), of="sync"),
)
