# SPDX-License-Identifier: Apache-2.0
"""The HTTP API of the scheduler; the table of routes is at the foot."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from heapq import nlargest
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response

from nerv.app import App
from nerv.cloudevents.json_format import parse_json
from nerv.errors import Invalid, NotFound
from nerv.limits import check_json_depth
from nerv.protocols.queue import NodeState, Queue, RunState, RunStatus
from nerv.service import JSON, Request, Route, respond
from nerv.service.describe import About
from nerv.service.params import IDEMPOTENCY_KEY, Body, flag, number
from nerv.types import check_id, format_instant, new_event_id
from nerv.workflows import SKIPPED, Cause
from nerv_scheduler.invoke import callees
from nerv_scheduler.model import state_of
from nerv_scheduler.pressure import Pressure
from nerv_scheduler.record import ASKED_FOR, Order, OrderKind, Signal, Stored, decoded
from nerv_scheduler.recorder import Recorder
from nerv_scheduler.replay import replay
from nerv_scheduler.results import Results
from nerv_scheduler.runs import Starter
from nerv_scheduler.schedules import Schedules
from nerv_scheduler.settings import SchedulerSettings
from nerv_scheduler.steering import Steering
from nerv_scheduler.timing import critical_path, maps, spans

RUN_ID_LIMIT = 200  # characters, so that its stream has a name
RUNS_LIMIT = 100
REASON_LIMIT = 500  # characters
STEPS_LIMIT = 100  # steps that a restart names; a step may be a whole map
WAIT_LIMIT = 30  # seconds of a long poll
LOOK_SHARE = 0.05  # of the time that a run has been waited for so far: it is looked after again then
LOOKS = (0.005, 0.25)  # seconds between two looks, at least and at most
ABOUT_NODES = ("critical_path", "maps", "nodes")
SHOWN_RESULT = 4096  # bytes of a task's result that are shown; the run's own result is shown whole

WAIT = number("wait", 0, "Seconds to wait for the end of the run.", high=WAIT_LIMIT)
BRIEF = flag("brief", "The run itself, without its nodes.")
LIMIT = number("limit", 20, "Runs at most.", low=1, high=RUNS_LIMIT)
COUNT = number("count", 5, "Ticks at most.", low=1, high=100)
SCHEDULE_ORDER = {
    "type": "object",
    "properties": {"order": {"enum": ["pause", "resume"]}},
    "required": ["order"],
    "additionalProperties": False,
}
SUBMISSION = {
    "type": "object",
    "properties": {
        "input": {"type": ["object", "null"]},
        "run": {"type": "string", "minLength": 1, "maxLength": RUN_ID_LIMIT},
        "version": {"type": ["integer", "null"], "minimum": 1},
        "cause": {
            "type": ["object", "null"],
            "properties": {
                "id": {"type": "string", "minLength": 1},
                "correlation_id": {"type": "string", "minLength": 1},
                "by": {"type": ["string", "null"]},
            },
            "required": ["id", "correlation_id"],
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
SIGNAL = {
    "type": "object",
    "properties": {
        "signal": {"type": "string", "minLength": 1},
        "id": {"type": "string", "minLength": 1, "maxLength": RUN_ID_LIMIT},
        "payload": {},
    },
    "required": ["signal"],
    "additionalProperties": False,
}
ORDER = {
    "type": "object",
    "properties": {
        "order": {"enum": [kind.value for kind in ASKED_FOR]},
        "id": {"type": "string", "minLength": 1, "maxLength": RUN_ID_LIMIT},
        "reason": {"type": "string", "maxLength": REASON_LIMIT},
        "steps": {"type": "array", "items": {"type": "string"}, "maxItems": STEPS_LIMIT},
    },
    "required": ["order"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Deps:
    """What the handlers work with."""

    settings: SchedulerSettings
    app: App
    queue: Queue
    recorder: Recorder
    results: Results
    starter: Starter
    steering: Steering
    schedules: Schedules
    pressure: Pressure


async def list_workflows(request: Request[Deps]) -> Response:
    """GET /v1/workflows: the workflows of the app."""
    app = request.deps.app
    rows = [
        {
            "workflow": name,
            "version": spec.version,
            "versions": sorted(number for of, number in app.workflow_versions if of == name),
            "description": (spec.function.__doc__ or "").strip().partition("\n")[0],
        }
        for name, spec in sorted(app.workflows.items())
    ]
    return respond({"workflows": rows})


async def start_run(request: Request[Deps]) -> Response:
    """POST /v1/workflows/{workflow}/runs: start a run; the same run id and input again start nothing."""
    deps = request.deps
    deps.pressure.check()
    workflow = request.path("workflow")
    run, run_input, version, cause = _submission(request)
    new = await deps.starter.start(workflow, run_input, run, version, cause)
    status = await deps.queue.status(run) or (await deps.recorder.read(run)).status
    document = {"run": run, "workflow": workflow, "status": _status(status, paused=False), "duplicate": not new}
    return respond(document, 202, {"location": f"/v1/runs/{run}"})


def _submission(request: Request[Deps]) -> tuple[str, dict[str, Any], int | None, Cause | None]:
    document = _document(request, '{"input": {"year": 2013}, "run": "..."}', ("input", "run", "version", "cause"))
    version = document.get("version")
    if isinstance(version, bool) or not isinstance(version, int | None):
        raise Invalid("version must be a whole number")
    if not isinstance(document.get("input") or {}, dict):
        raise Invalid("input must be a JSON object")
    return _id(request, document.get("run"), "run"), document.get("input") or {}, version, _cause(document.get("cause"))


def _cause(given: Any) -> Cause | None:
    if given is None:
        return None
    if not isinstance(given, dict) or not {"id", "correlation_id"} <= given.keys() <= {"id", "correlation_id", "by"}:
        raise Invalid('cause must be like {"id": "...", "correlation_id": "...", "by": "flights/record_departure"}')
    found = {name: check_id(value, f"cause.{name}") for name, value in given.items() if value is not None}
    return Cause(**found)


def _document(request: Request[Deps], example: str, fields: Sequence[str]) -> dict[str, Any]:
    """The body, empty when there is none. Raises Invalid when it is no object, or has other fields."""
    if not request.body:
        return {}
    check_json_depth(request.body, request.deps.settings.limits.json_depth)
    document = parse_json(request.body)
    if not isinstance(document, dict):
        raise Invalid(f"the body must be a JSON object such as {example}")
    unknown = sorted(set(document) - set(fields))
    if unknown:
        raise Invalid(f"the body has {', '.join(unknown)}; it may have {', '.join(fields)}")
    return document


def _id(request: Request[Deps], given: Any, name: str) -> str:
    """An id that the body or the header brings, or else a new one."""
    named = [one for one in (given, request.get(IDEMPOTENCY_KEY)) if one is not None]
    if len(set(map(str, named))) > 1:
        raise Invalid(f"{name} and Idempotency-Key differ; both are one id, so send one")
    found = check_id(named[0], name) if named else new_event_id()
    if found.startswith(":"):
        raise Invalid(f"{name} must not begin with a colon; such ids are the mesh's own")
    if len(found) > RUN_ID_LIMIT:
        raise Invalid(f"{name} has at most {RUN_ID_LIMIT} characters")
    return found


async def order(request: Request[Deps]) -> Response:
    """POST /v1/runs/{run}/orders: cancel, pause, resume or restart a run; the same id and order again change nothing."""
    run = check_id(request.path("run"), "run")
    given = _order(request)
    record = await request.deps.steering.order(run, given)
    document = {"run": run, "order": given.kind.value, "id": given.id, "status": _status(record.status, record.paused)}
    return respond(document)


def _order(request: Request[Deps]) -> Order:
    document = _document(request, '{"order": "cancel", "reason": "..."}', ("order", "id", "reason", "steps"))
    kinds = [kind.value for kind in ASKED_FOR]
    reason, steps = document.get("reason", ""), document.get("steps", [])
    if document.get("order") not in kinds:
        raise Invalid(f"order must be one of {', '.join(kinds)}")
    if not isinstance(reason, str) or len(reason) > REASON_LIMIT:
        raise Invalid(f"reason must be a text of at most {REASON_LIMIT} characters")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps) or len(steps) > STEPS_LIMIT:
        raise Invalid(f"steps must be a list of at most {STEPS_LIMIT} names of steps")
    kind = OrderKind(document["order"])
    if steps and kind is not OrderKind.RESTART:
        raise Invalid("only a restart has steps")
    return Order(_id(request, document.get("id"), "id"), kind, reason, tuple(steps))


async def signal(request: Request[Deps]) -> Response:
    """POST /v1/runs/{run}/signals: tell a run what it waits for, or will; the same id and signal again change nothing."""
    run = check_id(request.path("run"), "run")
    document = _document(request, '{"signal": "approved", "payload": {...}}', ("signal", "id", "payload"))
    name, payload = document.get("signal"), document.get("payload", True)
    if not isinstance(name, str) or not name:
        raise Invalid("signal must be the name of a signal that the run waits for")
    if payload is None:
        raise Invalid("payload must not be null: that is what a wait returns that nobody signalled")
    given = Signal(_id(request, document.get("id"), "id"), name, payload)
    record = await request.deps.steering.signal(run, given)
    return respond({"run": run, "signal": name, "id": given.id, "status": _status(record.status, record.paused)})


async def show_run(request: Request[Deps]) -> Response:
    """GET /v1/runs/{run}: a run and, unless `brief`, its tasks; with `wait` answered when it has ended, or after S seconds."""
    deps = request.deps
    run = check_id(request.path("run"), "run")
    began = time.monotonic()
    while (waited := time.monotonic() - began) < request.get(WAIT) and await _goes_on(deps, run):  # noqa: ASYNC110
        # Another replica may end it, and tells nobody.
        await asyncio.sleep(max(LOOKS[0], min(LOOKS[1], LOOK_SHARE * waited)))
    brief = request.get(BRIEF)
    document = document_of(await _state(deps, run, brief=brief), deps.results)
    return respond({name: value for name, value in document.items() if name not in ABOUT_NODES} if brief else document)


async def _goes_on(deps: Deps, run: str) -> bool:
    status = await deps.queue.status(run)
    return status is not None and not status.ended


async def list_runs(request: Request[Deps]) -> Response:
    """GET /v1/workflows/{workflow}/runs: its latest runs, newest first."""
    deps = request.deps
    workflow = request.path("workflow")
    if workflow not in deps.app.workflows:
        raise NotFound(f"there is no workflow {workflow!r}; see /v1/workflows")
    runs = await deps.queue.runs(workflow, request.get(LIMIT))
    return respond({"workflow": workflow, "runs": [await _row(deps, run) for run, _ in runs]})


async def latest_runs(request: Request[Deps]) -> Response:
    """GET /v1/runs: the latest runs of all workflows, newest first."""
    deps, limit = request.deps, request.get(LIMIT)
    found = await asyncio.gather(*(deps.queue.runs(workflow, limit) for workflow in deps.app.workflows))
    latest = nlargest(limit, (run for runs in found for run in runs), key=lambda one: one[1])
    return respond({"runs": [await _row(deps, run) for run, _ in latest]})


async def _row(deps: Deps, run: str) -> dict[str, Any]:
    document = document_of(await _state(deps, run, brief=True), deps.results)
    return {name: value for name, value in document.items() if name not in (*ABOUT_NODES, "result", "stored")}


async def replay_run(request: Request[Deps]) -> Response:
    """GET /v1/runs/{run}/replay: decide all that a run decided once more, from its history, by today's code; runs no task."""
    deps = request.deps
    record = await deps.recorder.read(check_id(request.path("run"), "run"))
    record = await deps.results.filled(record, record.nodes)
    record = replace(record, result=await deps.results.fetched(record.result))
    found = replay(deps.app, callees(deps.app), record, deps.settings.scheduler.tasks)
    document = {
        "run": record.run,
        "workflow": record.workflow,
        "version": record.version,
        "same": not found.differences,
        "decisions": found.decisions,
        "differences": [asdict(difference) for difference in found.differences],
        "changed_code": list(found.changed),
    }
    return respond(document)


async def list_schedules(request: Request[Deps]) -> Response:
    """GET /v1/schedules: the schedules of the app, what became of the last tick of each, and when the next is."""
    return respond(
        {"schedules": [await _schedule(request.deps, name) for name in sorted(request.deps.schedules.specs)]}
    )


async def _schedule(deps: Deps, name: str) -> dict[str, Any]:
    spec, state = deps.schedules.spec(name), await deps.schedules.read(name)
    upcoming = next(spec.ticks.after(datetime.now(UTC)), None)
    paused = state is not None and state.paused
    return {
        "schedule": name,
        "workflow": spec.workflow,
        "ticks": str(spec.ticks),
        "overlap": spec.overlap.value,
        "catch_up": spec.catch_up,
        "status": "paused" if paused else "active",
        "next": None if paused or upcoming is None else format_instant(upcoming),
        "last": None if state is None or not state.became else format_instant(state.position),
        "became": None if state is None else state.became or None,
        "why": None if state is None else state.why or None,
        "run": None if state is None else state.latest or None,
        "queued": 0 if state is None else len(state.queued),
    }


async def next_ticks(request: Request[Deps]) -> Response:
    """GET /v1/schedules/{schedule}/next: when it ticks next, in UTC and in its own time zone."""
    spec = request.deps.schedules.spec(request.path("schedule"))
    zone = ZoneInfo(spec.ticks.zone)
    found = islice(spec.ticks.after(datetime.now(UTC)), request.get(COUNT))
    rows = [{"tick": format_instant(tick), "local": tick.astimezone(zone).isoformat()} for tick in found]
    return respond({"schedule": spec.name, "next": rows})


async def order_schedule(request: Request[Deps]) -> Response:
    """POST /v1/schedules/{schedule}/orders: pause a schedule or have it go on; what it is already, it stays."""
    document = _document(request, '{"order": "pause"}', ("order",))
    if document.get("order") not in ("pause", "resume"):
        raise Invalid("order must be one of pause, resume")
    name = request.path("schedule")
    await request.deps.schedules.pause(name, pause=document["order"] == "pause")
    return respond(await _schedule(request.deps, name))


async def show_queues(request: Request[Deps]) -> Response:
    """GET /v1/queues: how much waits in the mesh, and how busy the pools of this replica are."""
    return respond(request.deps.pressure.document())


def about(deps: Deps) -> About:
    """What a replica of the scheduler says of itself."""
    queue, history = f"redis:{deps.settings.mesh}:tasks:default", "temporal:run-*"
    return About(deps.settings, deps.app, [queue, history], [queue, history], figures=deps.pressure.document())


async def _state(deps: Deps, run: str, *, brief: bool = False) -> RunState:
    """A run as the queue has it, or else as history tells it."""
    found = await deps.queue.show(run, brief=brief)
    return found if found is not None else state_of(await deps.recorder.read(run))


def document_of(state: RunState, results: Results) -> dict[str, Any]:
    """A run as JSON. Of a result that is in the store it has the address and the size."""
    return {
        "run": state.run,
        "workflow": state.workflow,
        "status": _status(state.status, state.paused),
        "started": _instant(state.started_ms),
        "ended": _instant(state.ended_ms),
        "error": state.error or None,
        "result": None,
        **_result(state.result, results),
        "elapsed_seconds": max(0, (state.ended_ms or time.time_ns() // 1_000_000) - state.started_ms) / 1000,
        "critical_path": critical_path(state),
        "maps": maps(state),
        "nodes": [_node(name, node, results) | spans(state, node) for name, node in state.nodes.items()],
    }


def _status(status: RunStatus, paused: bool) -> str:
    # People ask whether it is over; that it is going to fail, its nodes say.
    if paused and status is RunStatus.RUNNING:
        return "paused"
    return (RunStatus.RUNNING if status is RunStatus.FAILING else status).value


def _result(kept: bytes, results: Results) -> dict[str, Any]:
    found = decoded(kept)
    if isinstance(found, Stored):
        return {"stored": {"url": results.url(found), "bytes": found.size}}
    return {} if found is SKIPPED else {"result": found}


def _node(name: str, node: NodeState, results: Results) -> dict[str, Any]:
    document = {
        "node": name,
        "task": node.task,
        "status": node.status.value,
        "after": list(node.after),
        "attempt": node.attempt,
        "worker": node.worker or None,
        "started": _instant(node.began_ms),
        "ended": _instant(node.ended_ms),
        "error": node.error or None,
    }
    return document | (_result(node.result, results) if len(node.result) <= SHOWN_RESULT else {})


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
    Route("GET", "/v1/runs", latest_runs, "workflows:read", (LIMIT,)),
    Route("GET", "/v1/runs/{run}", show_run, "workflows:read", (WAIT, BRIEF)),
    Route(
        "POST",
        "/v1/runs/{run}/orders",
        order,
        "workflows:run",
        (IDEMPOTENCY_KEY,),
        Body({JSON: ORDER}, "What is to happen with the run, and the order's id."),
    ),
    Route(
        "POST",
        "/v1/runs/{run}/signals",
        signal,
        "workflows:run",
        (IDEMPOTENCY_KEY,),
        Body({JSON: SIGNAL}, "What the run is told, and the signal's id."),
    ),
    Route("GET", "/v1/runs/{run}/replay", replay_run, "workflows:read"),
    Route("GET", "/v1/schedules", list_schedules, "workflows:read"),
    Route("GET", "/v1/schedules/{schedule}/next", next_ticks, "workflows:read", (COUNT,), of="schedule"),
    Route(
        "POST",
        "/v1/schedules/{schedule}/orders",
        order_schedule,
        "workflows:run",
        body=Body({JSON: SCHEDULE_ORDER}, "What is to happen with the schedule."),
        of="schedule",
    ),
    Route("GET", "/v1/queues", show_queues, "workflows:read"),
)
