# SPDX-License-Identifier: Apache-2.0
"""What history says of a run, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from nerv.protocols.queue import NodeStatus, Priority, RunStatus
from nerv.workflows import SKIPPED, Control, Dag

RUN_CATEGORY = "run"
REFERENCE = b"@"  # no JSON begins with it


def stream_of(run: str) -> str:
    """The stream that is the truth about a run."""
    return f"{RUN_CATEGORY}-{run}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A result that is in the store under `name`: so many bytes of JSON, with this digest."""

    name: str
    size: int
    digest: str

    def encode(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "size": self.size, "digest": self.digest}


def result_of(data: Mapping[str, Any], field: str = "result") -> Any:
    """The result that an event holds, or refers to."""
    stored = data.get("stored")
    return data[field] if stored is None else Stored(stored["name"], stored["size"], stored["digest"])


def said(result: Any) -> dict[str, Any]:
    """What an event says of a result; `result_of` reads it."""
    return {"result": None, "stored": result.encode()} if isinstance(result, Stored) else {"result": result}


def encoded(result: Any) -> bytes:
    """A result as the queue keeps it; nothing for a node that was skipped."""
    if result is SKIPPED:
        return b""
    return REFERENCE + orjson.dumps(result.encode()) if isinstance(result, Stored) else orjson.dumps(result)


def decoded(kept: bytes) -> Any:
    """The result that the queue keeps."""
    if not kept:
        return SKIPPED
    if kept.startswith(REFERENCE):
        return Stored(**orjson.loads(kept[len(REFERENCE) :]))
    return orjson.loads(kept)


class OrderKind(StrEnum):
    """What people can order of a run."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RESTART = "restart"
    EXPIRE = "expire"  # given by the mesh itself, when the run's deadline has passed


ASKED_FOR = tuple(kind for kind in OrderKind if kind is not OrderKind.EXPIRE)


@dataclass(frozen=True, slots=True)
class Order:
    """An order. `id` is chosen by who gives it. `steps` are nodes, or whole maps, from which a restart goes on."""

    id: str
    kind: OrderKind
    reason: str = ""
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """An order that history has, and why it was not carried out; an empty text when it was."""

    order: Order
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that was sent to a run, under an id of its sender's. `consumed`: a wait has ended by it."""

    id: str
    name: str
    payload: Any = True
    time: datetime | None = None
    consumed: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """A wait that a node has begun. `name` is the signal's, or the event's type and field; `value` is what that field holds.

    `given` is the signal that it takes, `received` the event that was matched.
    """

    control: Control
    name: str
    value: str
    due: datetime | None
    given: Signal | None = None
    received: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What history says of one node. The first verdict that is recorded stands, whoever tried after.

    So many of its effects, from the first on, are known to be `performed`.
    """

    verdict: NodeStatus | None = None
    verdict_id: str = ""
    result: Any = None
    effects: tuple[Mapping[str, Any], ...] = ()
    effects_done: bool = True
    error: str = ""
    attempts: int = 0
    failures: int = 0
    began: datetime | None = None
    ended: datetime | None = None
    worker: str = ""
    wait: Wait | None = None
    early: Mapping[str, Any] | None = None  # an event that came before its wait was opened
    performed: int = 0


_NEW = NodeRecord()


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What history says of a run. `round` counts its restarts; `orders` are by their ids.

    `heard` counts what came from outside: orders, signals and events. `deadline` is of this round.
    """

    run: str
    workflow: str
    input: Mapping[str, Any]
    dag: Dag
    started: datetime
    traceparent: str | None = None
    tracestate: str | None = None
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)
    status: RunStatus = RunStatus.RUNNING
    ended: datetime | None = None
    result: Any = None
    error: str = ""
    paused: bool = False
    round: int = 0
    orders: Mapping[str, Given] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    heard: int = 0
    deadline: datetime | None = None
    deadline_seconds: float | None = None
    cut_short: bool = False  # by a cancellation or its deadline
    version: int = 1
    priority: Priority = Priority.NORMAL
    code: Mapping[str, str] = field(default_factory=dict)

    def before_end(self) -> "RunRecord":
        """As it was when nothing but its end was left."""
        ending = RunStatus.CANCELLING if self.cut_short else RunStatus.RUNNING
        return replace(self, status=ending)

    def node(self, name: str) -> NodeRecord:
        """The record of a node; an empty one before its first event."""
        return self.nodes.get(name, _NEW)
