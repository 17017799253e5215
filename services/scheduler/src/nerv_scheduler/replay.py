# SPDX-License-Identifier: Apache-2.0
"""Re-execute the decisions of a run from its history against today's code, pure: what is drawn, expanded, chosen, waited for.

Tasks are not run: what they returned is taken from history. So a change that breaks runs which are under way, or gives another
answer, is seen before it is met.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nerv.app import App, WorkflowSpec
from nerv.errors import Invalid, NotFound, TooLarge
from nerv.protocols.queue import NodeStatus, RunStatus
from nerv.types import format_instant
from nerv.workflows import Control, Dag, Step, control_of, draw, resolve
from nerv.workflows.dag import encode_step
from nerv_scheduler.controls import count_of, taken
from nerv_scheduler.fingerprints import code_of
from nerv_scheduler.fitting import check_calls
from nerv_scheduler.invoke import Callee
from nerv_scheduler.model import conclude, returned
from nerv_scheduler.record import RunRecord
from nerv_scheduler.waiting import due_of


@dataclass(frozen=True, slots=True)
class Difference:
    """Where today's code decides otherwise: `where` is a step or node, or `workflow`."""

    where: str
    what: str
    recorded: Any
    today: Any


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of it. `decisions` were compared; `changed` are functions whose code is not what it was at the start."""

    decisions: int
    differences: tuple[Difference, ...]
    changed: tuple[str, ...]


def replay(app: App, callees: Mapping[str, Callee], record: RunRecord, limit: int) -> Replay:
    """Compare a run's decisions with what today's code decides."""
    spec = app.workflow_versions.get((record.workflow, record.version))
    if spec is None:
        known = sorted(version for name, version in app.workflow_versions if name == record.workflow)
        today = f"versions {', '.join(map(str, known))}" if known else None
        return Replay(1, (Difference("workflow", "version", record.version, today),), ())
    code = code_of(app, spec, record.dag)
    changed = tuple(name for name, digest in record.code.items() if code.get(name) != digest)
    try:
        dag = draw(spec, app.tasks, record.input, limit)
        check_calls(dag, callees)
    except (Invalid, NotFound, TooLarge) as error:
        return Replay(1, (Difference("workflow", "drawing", "drawn", error.detail),), changed)
    before = record.dag.expanded({step.name: None for step in record.dag.steps if step.over is not None})
    found = [*_drawing(before, dag), *_deadline(spec, record)]
    counts = {step.name: step.count for step in record.dag.steps if step.over is not None}
    dag = dag.expanded({step.name: counts.get(step.name) for step in dag.steps if step.over is not None})
    decided = 0
    for node in record.dag.nodes:
        control = control_of(record.dag.nodes[node].task)
        if control is None or node not in dag.nodes or record.node(node).verdict is NodeStatus.SKIPPED:
            continue
        decided += 1
        found += _decision(record, dag, node, control, limit)
    found += _end(record)
    return Replay(len(dag.steps) + decided + 1, tuple(found), changed)


def _drawing(before: Dag, today: Dag) -> Iterator[Difference]:
    """Steps that are not there any more, are new, or are drawn otherwise; and what the run returns."""
    old, new = ({step.name: step for step in dag.steps} for dag in (before, today))
    for name in dict.fromkeys([*old, *new]):
        was, now = _fields(old.get(name)), _fields(new.get(name))
        if was is None or now is None:
            yield Difference(name, "step", was, now)
            continue
        for field in dict.fromkeys([*was, *now]):
            if was.get(field) != now.get(field):
                yield Difference(name, field, was.get(field), now.get(field))
    if before.encode()["result"] != today.encode()["result"]:
        yield Difference("workflow", "result", before.encode()["result"], today.encode()["result"])


def _fields(step: Step | None) -> dict[str, Any] | None:
    return None if step is None else encode_step(step)


def _deadline(spec: WorkflowSpec, record: RunRecord) -> Iterator[Difference]:
    if spec.deadline != record.deadline_seconds:
        yield Difference("workflow", "deadline", record.deadline_seconds, spec.deadline)


def _decision(record: RunRecord, today: Dag, node: str, control: Control, limit: int) -> Iterator[Difference]:
    """What today's code makes of what history says that a control was given."""
    was = record.node(node)

    def given() -> list[Any]:
        return [resolve(argument, lambda name: returned(record.node(name))) for argument in today.nodes[node].arguments]

    if control is Control.MAP and was.verdict is NodeStatus.COMPLETED:
        bare = record.dag.expanded({node: 0})
        yield from _compare(node, "items", was.result, lambda: count_of(len(bare.nodes), given()[0], limit))
    elif control is Control.WHEN and was.verdict is NodeStatus.COMPLETED:
        yield from _compare(node, "taken", was.result, lambda: taken(given()))
    elif control.waits and was.wait is not None and was.began is not None:
        began, due = was.began, was.wait.due
        yield from _compare(node, "due", _text(due), lambda: _text(due_of(control, given(), began)))


def _compare(node: str, what: str, recorded: Any, today: Callable[[], Any]) -> Iterator[Difference]:
    try:
        now = today()
    except (Invalid, KeyError, IndexError, TypeError) as error:
        now = str(error)
    if now != recorded:
        yield Difference(node, what, recorded, now)


def _end(record: RunRecord) -> Iterator[Difference]:
    """What the run came to, decided again from its nodes."""
    failed = any(node.verdict is NodeStatus.FAILED for node in record.nodes.values())
    if not record.status.ended or (record.status is RunStatus.FAILED and not failed and not record.cut_short):
        return  # the latter had a result that no event can hold
    end = conclude(record.before_end())
    if (end.status, end.result) != (record.status, record.result):
        was = {"status": record.status.value, "result": record.result}
        yield Difference("workflow", "end", was, {"status": end.status.value, "result": end.result})


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)
