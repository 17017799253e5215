# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of the scheduler; the table of routes is at the foot."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response

from nerv.app import App
from nerv.cloudevents.json_format import parse_json
from nerv.errors import Invalid, NotFound
from nerv.limits import check_json_depth
from nerv.protocols.queue import NodeState, Queue, RunState, RunStatus
from nerv.service import JSON, Request, Route, respond
from nerv.service.describe import describe
from nerv.service.params import IDEMPOTENCY_KEY, Body, number
from nerv.types import check_id, format_instant, new_event_id
from nerv_scheduler.model import state_of
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.runs import Starter
from nerv_scheduler.settings import SchedulerSettings

RUN_ID_LIMIT = 200  # characters, so that its stream has a name
RUNS_LIMIT = 100
WAIT_LIMIT = 30  # seconds of a long poll
LOOK_SECONDS = 0.1
SHOWN_RESULT = 4096  # bytes of a task's result that are shown; the run's own result is shown whole

WAIT = number("wait", 0, "Seconds to wait for the end of the run.", high=WAIT_LIMIT)
LIMIT = number("limit", 20, "Runs at most.", low=1, high=RUNS_LIMIT)
SUBMISSION = {
    "type": "object",
    "properties": {
        "input": {"type": ["object", "null"]},
        "run": {"type": "string", "minLength": 1, "maxLength": RUN_ID_LIMIT},
    },
    "additionalProperties": False,
}

_GOING_ON = (RunStatus.RUNNING, RunStatus.FAILING)


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: SchedulerSettings
    app: App
    queue: Queue
    recorder: Recorder
    starter: Starter


async def list_workflows(request: Request[Deps]) -> Response:
    """GET /v1/workflows: the workflows of the app."""
    rows = [
        {"workflow": name, "description": (spec.function.__doc__ or "").strip().partition("\n")[0]}
        for name, spec in sorted(request.deps.app.workflows.items())
    ]
    return respond({"workflows": rows})


async def start_run(request: Request[Deps]) -> Response:
    """POST /v1/workflows/{workflow}/runs: start a run; the same run id and input again start nothing."""
    deps = request.deps
    workflow = request.path("workflow")
    run, run_input = _submission(request)
    new = await deps.starter.start(workflow, run_input, run)
    status = await deps.queue.status(run) or (await deps.recorder.read(run)).status
    document = {"run": run, "workflow": workflow, "status": _status(status), "duplicate": not new}
    return respond(document, 202, {"location": f"/v1/runs/{run}"})


def _submission(request: Request[Deps]) -> tuple[str, dict[str, Any]]:
    document: Any = {}
    if request.body:
        check_json_depth(request.body, request.deps.settings.limits.json_depth)
        document = parse_json(request.body)
    if not isinstance(document, dict) or not isinstance(document.get("input") or {}, dict):
        raise Invalid('the body must be a JSON object such as {"input": {"year": 2013}, "run": "..."}')
    unknown = sorted(set(document) - {"input", "run"})
    if unknown:
        raise Invalid(f"the body has {', '.join(unknown)}; it may have input and run")
    named = [name for name in (document.get("run"), request.get(IDEMPOTENCY_KEY)) if name is not None]
    if len(set(map(str, named))) > 1:
        raise Invalid("run and Idempotency-Key differ; both are the run's id, so send one")
    run = check_id(named[0], "run") if named else new_event_id()
    if len(run) > RUN_ID_LIMIT:
        raise Invalid(f"a run's id has at most {RUN_ID_LIMIT} characters")
    return run, document.get("input") or {}


async def show_run(request: Request[Deps]) -> Response:
    """GET /v1/runs/{run}: a run and its tasks; with `wait` answered when it has ended, or after S seconds."""
    deps = request.deps
    run = check_id(request.path("run"), "run")
    deadline = time.monotonic() + request.get(WAIT)
    while time.monotonic() < deadline and await deps.queue.status(run) in _GOING_ON:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)  # another replica may end it, and tells nobody
    return respond(document_of(await _state(deps, run)))


async def list_runs(request: Request[Deps]) -> Response:
    """GET /v1/workflows/{workflow}/runs: its latest runs, newest first."""
    deps = request.deps
    workflow = request.path("workflow")
    if workflow not in deps.app.workflows:
        raise NotFound(f"there is no workflow {workflow!r}; see /v1/workflows")
    rows = []
    for run, _ in await deps.queue.runs(workflow, request.get(LIMIT)):
        document = document_of(await _state(deps, run))
        del document["nodes"], document["result"]
        rows.append(document)
    return respond({"workflow": workflow, "runs": rows})


async def well_known(request: Request[Deps]) -> Response:
    """GET /.well-known/nerv: what this replica is."""
    deps = request.deps
    queue, history = f"redis:{deps.settings.mesh}:tasks:default", "temporal:run-*"
    return respond(describe("scheduler", deps.settings, deps.app, reads=[queue, history], writes=[queue, history]))


async def _state(deps: Deps, run: str) -> RunState:
    """A run as the queue has it, or else as history tells it."""
    found = await deps.queue.show(run)
    return found if found is not None else state_of(await deps.recorder.read(run))


def document_of(state: RunState) -> dict[str, Any]:
    """A run as JSON."""
    return {
        "run": state.run,
        "workflow": state.workflow,
        "status": _status(state.status),
        "started": _instant(state.started_ms),
        "ended": _instant(state.ended_ms),
        "error": state.error or None,
        "result": orjson.loads(state.result) if state.result else None,
        "nodes": [_node(name, node) for name, node in state.nodes.items()],
    }


def _status(status: RunStatus) -> str:
    # People ask whether it is over; that it is going to fail, its nodes say.
    return (RunStatus.RUNNING if status is RunStatus.FAILING else status).value


def _node(name: str, node: NodeState) -> dict[str, Any]:
    document = {
        "node": name,
        "task": node.task,
        "status": node.status.value,
        "attempt": node.attempt,
        "worker": node.worker or None,
        "started": _instant(node.began_ms),
        "ended": _instant(node.ended_ms),
        "error": node.error or None,
    }
    if node.result and len(node.result) <= SHOWN_RESULT:
        document["result"] = orjson.loads(node.result)
    return document


def _instant(ms: int) -> str | None:
    return format_instant(datetime.fromtimestamp(ms / 1000, UTC)) if ms else None


ROUTES = (
    Route("GET", "/v1/workflows", list_workflows, "workflows:read"),
    Route(
        "POST",
        "/v1/workflows/{workflow}/runs",
        start_run,
        "workflows:run",
        (IDEMPOTENCY_KEY,),
        Body({JSON: SUBMISSION}, "The input of the workflow, and the id of the run.", required=False),
        statuses=(202,),
        of="workflow",
    ),
    Route("GET", "/v1/workflows/{workflow}/runs", list_runs, "workflows:read", (LIMIT,), of="workflow"),
    Route("GET", "/v1/runs/{run}", show_run, "workflows:read", (WAIT,)),
    Route("GET", "/.well-known/nerv", well_known, "mesh:read"),
)
