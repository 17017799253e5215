# SPDX-License-Identifier: Apache-2.0
"""What the scheduler decides, pure: what a run's history says, what is left to do of it, when to try again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from nerv.api.workflow.v1 import workflow_pb2
from nerv.errors import Internal, NervError, Retry
from nerv.protocols.queue import END, NodeState, NodeStatus, Plan, PlannedNode, Priority, RunState, RunStatus
from nerv.types import Event, EventType, parse_instant
from nerv.workflows import SKIPPED, Dag, PermanentError, resolve
from nerv.workflows.dag import Argument, Node, encode_argument
from nerv_scheduler.orders import obey, order_of
from nerv_scheduler.record import NodeRecord, OrderKind, RunRecord, Wait, encoded, result_of
from nerv_scheduler.waiting import awaited_key, open_wait, outcome, signal_of, signalled

ERROR_LIMIT = 2000  # characters of an error that are kept
# Events by which the mesh's own nodes end, and the field that holds what they return.
_DECIDED: Mapping[str, str] = {
    EventType.MAP_EXPANDED: "count",
    EventType.BRANCH_TAKEN: "taken",
    EventType.WAIT_ENDED: "result",
}


def fold(run: str, events: Iterable[Event[bytes]], dag: Dag | None = None) -> RunRecord:
    """The record of a run from the events of its stream, in order; `dag` spares whoever has drawn it to read it from the first.

    Raises Internal when it does not begin with a start.
    """
    record: RunRecord | None = None
    nodes: dict[str, NodeRecord] = {}
    for event in events:
        data = orjson.loads(event.data)
        if event.type == EventType.RUN_SUBMITTED:
            record = _begun(run, event, data, dag)
        elif record is None:
            break
        elif (order := order_of(event.type, data)) is not None:
            record = replace(obey(replace(record, nodes=nodes), order, event.time), heard=record.heard + 1)
            nodes = dict(record.nodes)
        elif event.type == EventType.SIGNAL_RECEIVED:
            record = _hear(record, nodes, event, data)
        elif data.get("round", 0) != record.round:
            continue  # a replica that slept through a restart wrote it
        elif event.type == EventType.QUANTUM_COMPLETED:
            record = _fused(record, nodes, event, data)
        elif "task" in data:
            record = _tell(record, nodes, event, data)
        else:
            record = fold_end(record, event)
    if record is None:
        raise Internal(f"the stream of run {run} does not begin with {EventType.RUN_SUBMITTED}")
    return replace(record, nodes=nodes)


def _fused(record: RunRecord, nodes: dict[str, NodeRecord], event: Event[bytes], data: Mapping[str, Any]) -> RunRecord:
    """After a quantum. Of a chain nothing counts from a node on that had a verdict: what follows used another result of it."""
    for chain in data["chains"]:
        for entry in chain:
            known = nodes.get(entry["node"], NodeRecord())
            if known.verdict is not None:
                break
            nodes[entry["node"]] = node = fold_link(known, event, entry, data["worker"])
            if node.verdict is NodeStatus.FAILED and record.status is RunStatus.RUNNING:
                record = replace(record, status=RunStatus.FAILING)
    return record


def fold_link(node: NodeRecord, event: Event[bytes], entry: Mapping[str, Any], worker: str) -> NodeRecord:
    """The record of a node after what a quantum says of it: that it is done, or has failed."""
    attempts = max(node.attempts, int(entry["attempt"]))
    began, ended = parse_instant(entry["began"]), parse_instant(entry["ended"])
    if "error" in entry:
        verdict = NodeStatus.FAILED if entry["final"] else None
        failures = node.failures + 1
        return replace(
            node, verdict=verdict, error=entry["error"], attempts=attempts, failures=failures, worker=worker,
            ended=ended if entry["final"] else None,
        )  # fmt: skip
    effects = tuple(entry.get("effects", ()))
    return NodeRecord(
        NodeStatus.COMPLETED, event.id, entry["result"], effects, not effects, "", attempts, node.failures, began,
        ended, worker,
    )  # fmt: skip


def _begun(run: str, event: Event[bytes], data: Mapping[str, Any], dag: Dag | None) -> RunRecord:
    seconds = data.get("deadline")
    return RunRecord(
        run,
        data["workflow"],
        data["input"],
        Dag.decode(data["dag"]) if dag is None else dag,
        event.time,
        event.traceparent,
        event.tracestate,
        deadline=None if seconds is None else event.time + timedelta(seconds=seconds),
        deadline_seconds=seconds,
        version=data.get("version", 1),
        priority=Priority(data.get("priority", Priority.NORMAL)),
        code=data.get("code", {}),
    )


def _hear(record: RunRecord, nodes: dict[str, NodeRecord], event: Event[bytes], data: Mapping[str, Any]) -> RunRecord:
    signals = (*record.signals, signal_of(event, data))
    nodes.update(signalled(nodes, signals))
    return replace(record, signals=signals, heard=record.heard + 1)


def _tell(record: RunRecord, nodes: dict[str, NodeRecord], event: Event[bytes], data: Mapping[str, Any]) -> RunRecord:
    """The record after an event about a node, which is put among `nodes`."""
    name = data["node"]
    nodes[name] = node = fold_node(nodes.get(name, NodeRecord()), event)
    if event.type == EventType.EVENT_RECEIVED:
        return replace(record, heard=record.heard + 1)
    if event.type == EventType.MAP_EXPANDED:
        return replace(record, dag=record.dag.expanded({name: data["count"]}))
    if event.type == EventType.BRANCH_TAKEN:
        nodes |= _skipped(record, name, data["taken"], event.time)
    elif event.type == EventType.WAIT_OPENED:
        nodes.update(signalled(nodes, record.signals))
    elif event.type == EventType.WAIT_ENDED:
        record = _taken(record, node)
        nodes.update(signalled(nodes, record.signals))
    if node.verdict is NodeStatus.FAILED and record.status is RunStatus.RUNNING:
        return replace(record, status=RunStatus.FAILING)
    return record


def _skipped(record: RunRecord, when: str, taken: bool, at: datetime) -> dict[str, NodeRecord]:
    """The nodes that are not to be done because of how `when` was decided."""
    found = NodeRecord(NodeStatus.SKIPPED, began=at, ended=at)
    return {
        node.name: found
        for node in record.dag.nodes.values()
        if any(guard.when == when and guard.taken != taken for guard in node.guards)
    }


def _taken(record: RunRecord, node: NodeRecord) -> RunRecord:
    """The signal by which a wait ended is used up."""
    given = node.wait.given if node.wait is not None else None
    if given is None:
        return record
    used = tuple(replace(signal, consumed=True) if signal.id == given.id else signal for signal in record.signals)
    return replace(record, signals=used)


def fold_end(record: RunRecord, event: Event[bytes]) -> RunRecord:
    """The record of a run after its last event."""
    data = orjson.loads(event.data)
    if event.type == EventType.RUN_COMPLETED:
        return replace(record, status=RunStatus.COMPLETED, ended=event.time, result=result_of(data))
    if event.type == EventType.RUN_FAILED:
        return replace(record, status=RunStatus.FAILED, ended=event.time, error=data["error"])
    if event.type == EventType.RUN_CANCELLED:
        return replace(record, status=RunStatus.CANCELLED, ended=event.time, error=data["error"])
    return record


def fold_node(node: NodeRecord, event: Event[bytes]) -> NodeRecord:
    """The record of a node after one more event about it."""
    data = orjson.loads(event.data)
    attempts = max(node.attempts, int(data.get("attempt", 0)))
    if node.verdict is not None and node.effects_done:
        return replace(node, attempts=attempts)  # the first verdict stands
    if event.type == EventType.TASK_COMPLETED and node.verdict is None:
        effects = tuple(data["effects"])
        return replace(
            node,
            verdict=NodeStatus.COMPLETED,
            verdict_id=event.id,
            result=result_of(data),
            effects=effects,
            effects_done=not effects,
            error="",
            attempts=attempts,
            began=parse_instant(data["began"]),
            ended=event.time,
            worker=data["worker"],
        )
    if event.type == EventType.EFFECTS_DONE:
        return replace(node, effects_done=True)
    if event.type == EventType.EFFECTS_PERFORMED:
        return replace(node, performed=max(node.performed, int(data["performed"])))
    if event.type == EventType.WAIT_OPENED:
        wait = replace(open_wait(data), received=node.early)
        return replace(node, wait=wait, began=event.time, attempts=attempts, worker=data["worker"])
    if event.type == EventType.EVENT_RECEIVED:
        return _received(node, data["event"])
    if event.type in _DECIDED:
        return replace(
            node,
            verdict=NodeStatus.COMPLETED,
            verdict_id=event.id,
            result=data[_DECIDED[event.type]],
            attempts=attempts,
            began=node.began or event.time,
            ended=event.time,
            worker=data["worker"],
            wait=_left(node.wait, data),
        )
    if event.type == EventType.TASK_FAILED:
        final = NodeStatus.FAILED if data["final"] else node.verdict
        return replace(
            node,
            verdict=final,
            error=data["error"],
            attempts=attempts,
            failures=node.failures + 1,
            worker=data["worker"],
            ended=event.time if data["final"] else node.ended,
        )
    return node


def _received(node: NodeRecord, event: Mapping[str, Any]) -> NodeRecord:
    """A node after the event that it waits for, or is about to wait for; the first one counts."""
    if node.wait is None:
        return replace(node, early=node.early or event)
    return replace(node, wait=replace(node.wait, received=node.wait.received or event))


def _left(wait: Wait | None, data: Mapping[str, Any]) -> Wait | None:
    """A wait that has ended; a signal that came too late for it is another's."""
    return wait if wait is None or data["why"] == "signal" else replace(wait, given=None)


def plan(record: RunRecord, now: datetime, *, new: bool = False) -> Plan:
    """What the queue must hold of a run by `now`: all of a new one, the rest of one that had begun.

    Of the rest, what is ready may be in somebody's hands who does not know yet that the queue has lost it: it counts as
    attempted, so that whoever takes it looks into history before and after.

    A completed node whose effects are not known to be done is ready again: who takes it does the effects and nothing else.
    """
    children: dict[str, list[str]] = {}
    waits: dict[str, int] = {}
    for node in record.dag.nodes.values():
        after = node.after
        waits[node.name] = sum(not _settled(record.node(name)) for name in after)
        for name in after:
            children.setdefault(name, []).append(node.name)
    nodes = tuple(
        _planned(record, node, waits[name], tuple(children.get(name, ())), now, new)
        for name, node in record.dag.nodes.items()
    )
    end = task_message(record, END, "", (record.dag.result,))
    return Plan(
        record.run,
        record.workflow,
        to_ms(record.started),
        nodes,
        end,
        record.status,
        record.paused,
        record.heard,
        record.round,
        0 if record.status is RunStatus.CANCELLING else to_ms(record.deadline),
        record.priority,
    )


def _planned(
    record: RunRecord, node: Node, waits: int, children: tuple[str, ...], now: datetime, new: bool
) -> PlannedNode:
    known = record.node(node.name)
    return PlannedNode(
        node.name,
        task_message(record, node.name, node.task, node.arguments),
        waits,
        children,
        _status(known, waits, record.status is not RunStatus.RUNNING, now),
        output_of(known) if _settled(known) else b"",
        known.error,
        max(known.attempts, int(not new and not waits)),
        known.failures,
        *_instants(known),
        *_waking(known),
        node.priority,
    )


def _instants(node: NodeRecord) -> tuple[int, int]:
    return (to_ms(node.began), to_ms(node.ended)) if _settled(node) else (0, 0)


def _waking(node: NodeRecord) -> tuple[int, str]:
    """When a node is woken, and by which key it is found."""
    return (0, "") if node.wait is None else (to_ms(node.wait.due), awaited_key(node.wait))


def output_of(node: NodeRecord) -> bytes:
    """What the queue keeps of a settled node's result; nothing of one that was skipped."""
    return encoded(returned(node))


def _settled(node: NodeRecord) -> bool:
    return node.verdict is NodeStatus.SKIPPED or (node.verdict is NodeStatus.COMPLETED and node.effects_done)


def _status(node: NodeRecord, waits: int, over: bool, now: datetime) -> NodeStatus:
    if node.verdict is NodeStatus.FAILED or _settled(node):
        return node.verdict or NodeStatus.WAITING
    if node.verdict is NodeStatus.COMPLETED:
        return NodeStatus.READY
    if over:
        return NodeStatus.CANCELLED
    if node.wait is not None and outcome(node.wait, now) is None:
        return NodeStatus.SLEEPING
    return NodeStatus.WAITING if waits else NodeStatus.READY


def task_message(record: RunRecord, node: str, task: str, arguments: Sequence[Argument]) -> bytes:
    """The message of a node; its spans continue the trace of the request that started the run."""
    return workflow_pb2.Task(
        run=record.run,
        workflow=record.workflow,
        node=node,
        task=task,
        arguments=orjson.dumps([encode_argument(argument) for argument in arguments]),
        traceparent=record.traceparent or "",
        tracestate=record.tracestate or "",
    ).SerializeToString()


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a run ends: with a result, or with the error of the node that failed first, or cancelled, and why."""

    status: RunStatus = RunStatus.COMPLETED
    result: Any = None
    error: str = ""
    node: str = ""


def conclude(record: RunRecord) -> Conclusion:
    """The end of a run whose nodes have all ended. Raises Internal when one has not, though no node failed."""
    if record.status is RunStatus.CANCELLING:
        return _stopped(record)
    failed = [(node.ended or record.started, name) for name, node in record.nodes.items() if _failed(node)]
    if failed:
        _, name = min(failed)
        return Conclusion(RunStatus.FAILED, error=f"{name}: {record.node(name).error}", node=name)
    missing = [name for name in record.dag.nodes if not _settled(record.node(name))]
    if missing:
        raise Internal(f"run {record.run} is to end, but history has no result of {missing[0]}")
    return Conclusion(result=resolve(record.dag.result, lambda name: returned(record.node(name))))


def _stopped(record: RunRecord) -> Conclusion:
    """The end of a run that was cancelled, or that its deadline has ended; whichever came last says so."""
    kinds = (OrderKind.CANCEL, OrderKind.EXPIRE)
    given = [g.order for g in record.orders.values() if g.order.kind in kinds and not g.refusal][-1]
    if given.kind is OrderKind.EXPIRE:
        return Conclusion(RunStatus.FAILED, error=given.reason)
    return Conclusion(RunStatus.CANCELLED, error=": ".join(filter(None, ("cancelled", given.reason))))


def ready_since(record: RunRecord, node: str) -> datetime:
    """When all that a node waits for had ended."""
    ends = [ended for name in record.dag.nodes[node].after if (ended := record.node(name).ended) is not None]
    return max([record.started, *ends])


def returned(node: NodeRecord) -> Any:
    """What a settled node returned."""
    return SKIPPED if node.verdict is NodeStatus.SKIPPED else node.result


def _failed(node: NodeRecord) -> bool:
    return node.verdict is NodeStatus.FAILED


def is_permanent(error: BaseException) -> bool:
    """Whether trying again meets the same answer: what the team says so of, and what the mesh refuses."""
    return isinstance(error, PermanentError) or (isinstance(error, NervError) and error.retry is Retry.NEVER)


def describe_error(error: BaseException) -> str:
    """One line, bounded, for history and people."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text if len(text) <= ERROR_LIMIT else text[: ERROR_LIMIT - 1] + "…"


def backoff(failures: int, first: float, longest: float, chance: float) -> float:
    """Seconds before the next try, after `failures` earlier ones; `chance` from 0 to 1 spreads those that failed together."""
    return min(longest, first * 2.0 ** min(failures, 30)) * (0.5 + 0.5 * chance)


def state_of(record: RunRecord) -> RunState:
    """A run that the queue does not have (any more), for people."""
    over = record.status.ended
    nodes = {
        name: NodeState(
            _shown(record.node(name), over),
            node.task,
            record.node(name).attempts,
            to_ms(record.node(name).began),
            to_ms(record.node(name).ended),
            record.node(name).error,
            output_of(record.node(name)) if _settled(record.node(name)) else b"",
            record.node(name).worker,
            node.after,
        )
        for name, node in record.dag.nodes.items()
    }
    result = encoded(record.result) if record.status is RunStatus.COMPLETED else b""
    return RunState(
        record.run,
        record.workflow,
        record.status,
        to_ms(record.started),
        to_ms(record.ended),
        nodes,
        result,
        record.error,
        record.paused,
    )


def _shown(node: NodeRecord, over: bool) -> NodeStatus:
    if node.verdict is None and not over and node.wait is not None:
        return NodeStatus.SLEEPING
    return node.verdict or (NodeStatus.CANCELLED if over else NodeStatus.WAITING)


def to_ms(instant: datetime | None) -> int:
    """Milliseconds since 1970; 0 for none."""
    return 0 if instant is None else round(instant.timestamp() * 1000)
