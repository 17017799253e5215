# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of what persons decide: plans and conflicts; the table of routes is at the foot."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from nerv.errors import Invalid, NotFound
from nerv.service import JSON, Request, Route, respond
from nerv.service.params import Body, number
from nerv.state import MISSING
from nerv.sync.conflicts import ConflictJournal, Lost, Waiting
from nerv_sync.bodies import read_body
from nerv_sync.deps import Deps
from nerv_sync.model import changes
from nerv_sync.opened import Opened

MOST_STEPS = 10_000

STEPS = number("limit", 500, "How many steps are shown.", low=1, high=MOST_STEPS)
FROM = number("from", 0, "How many steps are left out before.")


class Decision(BaseModel):
    """The body of a decision."""

    model_config = ConfigDict(extra="forbid")

    choice: Annotated[Literal["left", "right", "row", "delete"], Field(description="What shall hold on both sides.")]
    row: Annotated[dict[str, Any] | None, Field(description="With `row`: what is compared of the object.")] = None


async def show_plan(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{sync}/plans/{plan}: what would be done, with before and after, and who has approved it."""
    deps, name, plan = request.deps, request.path("sync"), request.path("plan")
    deps.pairs.check(name)
    kept = await deps.shelf.load(name, plan)
    first = request.get(FROM)
    steps = kept.plan.steps[first : first + request.get(STEPS)]
    return respond(
        {
            "sync": name,
            "plan": kept.plan.id,
            "direction": kept.plan.direction.value,
            "where": list(kept.where),
            "summary": kept.plan.summary(),
            "approved": kept.approval,
            "changes": changes(steps),
            "truncated": first + len(steps) < len(kept.plan.steps),
            "losses": [
                {"side": one.side, "key": one.key, "field": one.field, "strategy": one.strategy}
                for one in kept.plan.losses[:MOST_STEPS]
            ],
            "unwritable": list(kept.plan.unwritable[:MOST_STEPS]),
        }
    )


async def approve_plan(request: Request[Deps]) -> Response:
    """POST /v1/syncs/{sync}/plans/{plan}/approval: who asks approves the plan; once is enough."""
    deps, name, plan = request.deps, request.path("sync"), request.path("plan")
    deps.pairs.check(name)
    approved = await deps.shelf.approve(name, plan, request.principal.subject)
    return respond({"sync": name, "plan": plan, "approved": approved})


async def list_conflicts(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{sync}/conflicts: the conflicts that wait for a person, as both sides are now."""
    opened, _ = await _opened(request)
    return respond({"conflicts": [_conflict(one) for one in await opened.synchronizer.conflicts()]})


async def show_conflict(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{sync}/conflicts/{conflict}: one of them."""
    return respond(_conflict(await _waiting(request)))


async def decide_conflict(request: Request[Deps]) -> Response:
    """POST /v1/syncs/{sync}/conflicts/{conflict}/decision: what shall hold; the next run writes it."""
    body = read_body(request, Decision, request.deps.settings.limits)
    if (body.choice == "row") != (body.row is not None):
        raise Invalid("`row` goes with the choice row, and only with it")
    opened, _ = await _opened(request)
    one = await _waiting(request)
    row = None if body.row is None else _identified(body.row, one, opened.pair.schema().identifiers)
    choice = {"row": row, "delete": None}.get(body.choice, body.choice)
    by = request.principal.subject
    await opened.synchronizer.decide(one.key, one.id, choice, by=by)
    return respond({**_conflict(one), "decided": {"choice": choice, "by": by}})


async def list_losses(request: Request[Deps]) -> Response:
    """GET /v1/syncs/{sync}/losses: every update that was overruled."""
    _, journal = await _opened(request)
    return respond({"losses": [_loss(one) for one in await journal.lost()]})


async def _opened(request: Request[Deps]) -> tuple[Opened, ConflictJournal]:
    opened = await request.deps.synchronizers.open(request.path("sync"))
    if opened.journal is None:
        raise NotFound(f"{opened.name} only follows its source, so that there are no conflicts")
    return opened, opened.journal


async def _waiting(request: Request[Deps]) -> Waiting:
    _, journal = await _opened(request)
    wanted = request.path("conflict")
    for one in await journal.waiting():
        if one.id == wanted:
            return one
    raise NotFound(f"no conflict {wanted[:64]!r} waits; list them anew, for a side may have changed since")


def _identified(row: dict[str, Any], one: Waiting, identifiers: Sequence[str]) -> dict[str, Any]:
    """A row that somebody wrote, with what tells its object apart. Raises Invalid for a row of another object."""
    held = one.left or one.right or {}
    own = {name: held[name] for name in identifiers if name in held}
    if any(row.get(name, value) != value for name, value in own.items()):
        raise Invalid(f"the row is of another object than {one.key!r}; leave out {', '.join(own)}")
    return {**own, **row}


def _conflict(one: Waiting) -> dict[str, Any]:
    return {
        "conflict": one.id,
        "key": one.key,
        "base": one.base,
        "left": one.left,
        "right": one.right,
        "since": one.since,
    }


def _loss(one: Lost) -> dict[str, Any]:
    row = {"side": one.side, "key": one.key, "field": one.field, "strategy": one.strategy, "when": one.when}
    # What is nothing is left out, so that it is not taken for null.
    values = {"lost": one.lost, "kept": one.kept}
    return row | {name: value for name, value in values.items() if value is not MISSING}


ROUTES = (
    Route("GET", "/v1/syncs/{sync}/plans/{plan}", show_plan, "syncs:read", (STEPS, FROM), of="sync"),
    Route("POST", "/v1/syncs/{sync}/plans/{plan}/approval", approve_plan, "syncs:approve", of="sync"),
    Route("GET", "/v1/syncs/{sync}/conflicts", list_conflicts, "syncs:read", of="sync"),
    Route("GET", "/v1/syncs/{sync}/conflicts/{conflict}", show_conflict, "syncs:read", of="sync"),
    Route(
        "POST",
        "/v1/syncs/{sync}/conflicts/{conflict}/decision",
        decide_conflict,
        "syncs:approve",
        (),
        Body({JSON: Decision.model_json_schema()}, "What shall hold."),
        of="sync",
    ),
    Route("GET", "/v1/syncs/{sync}/losses", list_losses, "syncs:read", of="sync"),
)
