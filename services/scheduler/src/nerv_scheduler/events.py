# SPDX-License-Identifier: Apache-2.0
"""The events of a run's stream. Their ids are made of what they are about, so that each is recorded once (rule 2).

| event | id is made of | says |
| --- | --- | --- |
| `nerv.run.submitted.v1` | run | workflow, input and the drawn DAG |
| `nerv.task.completed.v1` | run, node | the result, and the effects to perform, with their ids |
| `nerv.quantum.completed.v1` | run, `quantum`, restart, first nodes | results of tiny tasks that were done together, in chains |
| `nerv.task.failed.v1` | run, node (final), or run, node and token | why |
| `nerv.task.effects-performed.v1` | run, node, `performed`, how many | that so many of them are, and the next is not yet |
| `nerv.task.effects-done.v1` | run, node, `effects` | that they are performed |
| `nerv.map.expanded.v1` | run, node | how many items, or parts, a list has, and by what that was decided; before any begins |
| `nerv.branch.taken.v1` | run, node | which branch of a condition is taken |
| `nerv.wait.opened.v1` | run, node, `wait` | what is waited for, and until when |
| `nerv.wait.ended.v1` | run, node | by what (`due`, `signal`, `event`), and what it returns |
| `nerv.signal.received.v1` | run, `signal`, its id | its name, and what was sent with it |
| `nerv.event.received.v1` | run, node, `event` | the event of a topic that a wait was for |
| `nerv.run.completed.v1`, `nerv.run.failed.v1`, `nerv.run.cancelled.v1` | run, `end` | the result, or why |
| `nerv.run.cancel-ordered.v1`, `nerv.run.paused.v1`, | run, `order`, its id | what a person orders, and why |
| `nerv.run.resumed.v1`, `nerv.run.restarted.v1`, | | |
| `nerv.run.deadline-passed.v1` | | |

A node's success and its final failure have one id: whichever is recorded first stands. A quantum has another one: of a node in
several, or in a quantum and alone, the first verdict that the stream has stands, too.
After a restart the ids are made of the restart's number, too: the same node has another verdict then, and other effects.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from nerv.effects import MeshEffect, effect_ids
from nerv.protocols.queue import Claim, Priority, RunStatus
from nerv.telemetry import carrier
from nerv.types import Event, EventType, format_instant
from nerv.workflows import Cause, Control, Dag
from nerv_scheduler.model import Conclusion
from nerv_scheduler.orders import EVENT_OF
from nerv_scheduler.record import Order, Signal, Wait, said, stream_of


def event_id(*parts: str) -> str:
    """32 hexadecimal digits of the parts; each is preceded by its length, so that no two lists make the same text."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def effect_identities(app: str, workflow: str, claim: Claim, effects: Sequence[MeshEffect]) -> list[str]:
    """The ids of a node's effects: the same for every attempt (rule 12), others after a restart."""
    node = event_id(claim.node, str(claim.round)) if claim.round else claim.node
    cause: Event[bytes] = Event(
        node, stream_of(claim.run), EventType.TASK_COMPLETED, datetime.min.replace(tzinfo=UTC), b""
    )
    return effect_ids(app, workflow, cause, effects)


_END_OF = {
    RunStatus.COMPLETED: EventType.RUN_COMPLETED,
    RunStatus.FAILED: EventType.RUN_FAILED,
    RunStatus.CANCELLED: EventType.RUN_CANCELLED,
}


def _turn(number: int) -> list[str]:
    return [str(number)] if number else []


def _round(number: int) -> dict[str, int]:
    return {"round": number} if number else {}


class RunEvents:
    """Makes the events of one run. `source` is the service that writes them, `worker` its replica."""

    def __init__(self, source: str, run: str, worker: str) -> None:
        self._source = source
        self._run = run
        self._worker = worker

    def submitted(
        self,
        now: datetime,
        workflow: str,
        run_input: Mapping[str, Any],
        dag: Dag,
        *,
        deadline: float | None = None,
        version: int = 1,
        priority: Priority = Priority.NORMAL,
        code: Mapping[str, str] | None = None,
        cause: Cause | None = None,
    ) -> Event[bytes]:
        """The run is accepted. `deadline` is seconds, `code` are digests of what drew it and what it calls.

        With a `cause` the event stands in the chain of that, and what follows in the run's own.
        """
        document = {"run": self._run, "workflow": workflow, "version": version, "code": code or {}, "input": run_input}
        document |= {"dag": dag.encode()} if deadline is None else {"dag": dag.encode(), "deadline": deadline}
        document |= {} if priority is Priority.NORMAL else {"priority": priority.value}
        event = self._event(EventType.RUN_SUBMITTED, now, document, "submitted")
        if cause is None:
            return event
        source = event.source if cause.by is None else f"nerv:{cause.by}"
        return replace(event, source=source, correlation_id=cause.correlation_id, causation_id=cause.id)

    def completed(
        self,
        now: datetime,
        claim: Claim,
        task: str,
        value: Any,
        effects: Sequence[Mapping[str, Any]],
        *,
        began: datetime,
    ) -> Event[bytes]:
        """A node has its result. What `effects` say is to be performed next."""
        document = self._about(claim, task) | {
            "began": format_instant(began),
            "effects": list(effects),
        }
        document |= said(value)
        return self._event(EventType.TASK_COMPLETED, now, document, "verdict", claim.node, *_turn(claim.round))

    def quantum(
        self, now: datetime, heads: Sequence[Claim], chains: Sequence[Sequence[Mapping[str, Any]]]
    ) -> Event[bytes]:
        """Nodes that were done together; each chain begins with one of `heads`, and its nodes follow each other."""
        turn = heads[0].round
        document = {"run": self._run, "worker": self._worker, "chains": chains} | _round(turn)
        names = [claim.node for claim in heads]
        return self._event(EventType.QUANTUM_COMPLETED, now, document, "quantum", str(turn), *names)

    def failed(self, now: datetime, claim: Claim, task: str, error: str) -> Event[bytes]:
        """A node has failed for good."""
        document = self._about(claim, task) | {"error": error, "final": True}
        return self._event(EventType.TASK_FAILED, now, document, "verdict", claim.node, *_turn(claim.round))

    def attempt_failed(self, now: datetime, claim: Claim, task: str, error: str) -> Event[bytes]:
        """One attempt has failed; another one follows."""
        document = self._about(claim, task) | {"error": error, "final": False}
        return self._event(EventType.TASK_FAILED, now, document, "attempt", claim.node, claim.nonce)

    def effects_performed(self, now: datetime, claim: Claim, task: str, count: int) -> Event[bytes]:
        """So many effects of a node are performed; the next one met an error."""
        document = self._about(claim, task) | {"performed": count}
        parts = ("performed", str(count), claim.node, *_turn(claim.round))
        return self._event(EventType.EFFECTS_PERFORMED, now, document, *parts)

    def effects_done(self, now: datetime, claim: Claim, task: str) -> Event[bytes]:
        """Every effect of a node is performed."""
        return self._event(
            EventType.EFFECTS_DONE, now, self._about(claim, task), "effects", claim.node, *_turn(claim.round)
        )

    def effects_refused(self, now: datetime, claim: Claim, task: str, error: str) -> Event[bytes]:
        """An effect can never be performed, so that the node has failed after all."""
        document = self._about(claim, task) | {"error": error, "final": True}
        return self._event(EventType.TASK_FAILED, now, document, "effects", claim.node, *_turn(claim.round))

    def expanded(self, now: datetime, claim: Claim, count: int, split: Mapping[str, Any] | None = None) -> Event[bytes]:
        """A map has so many items, or a list so many parts: `split` says by what that was decided."""
        document = self._about(claim, Control.MAP if split is None else Control.SPLIT) | {"count": count}
        document |= {} if split is None else {"split": split}
        return self._event(EventType.MAP_EXPANDED, now, document, "verdict", claim.node, *_turn(claim.round))

    def branched(self, now: datetime, claim: Claim, taken: bool) -> Event[bytes]:
        """A condition is decided."""
        document = self._about(claim, Control.WHEN) | {"taken": taken}
        return self._event(EventType.BRANCH_TAKEN, now, document, "verdict", claim.node, *_turn(claim.round))

    def wait_opened(self, now: datetime, claim: Claim, wait: Wait) -> Event[bytes]:
        """A node begins to wait."""
        due = None if wait.due is None else format_instant(wait.due)
        document = self._about(claim, wait.control) | {"name": wait.name, "value": wait.value, "due": due}
        return self._event(EventType.WAIT_OPENED, now, document, "wait", claim.node, *_turn(claim.round))

    def wait_ended(self, now: datetime, claim: Claim, wait: Wait, result: Any, why: str) -> Event[bytes]:
        """A node waits no longer."""
        document = self._about(claim, wait.control) | {"result": result, "why": why}
        return self._event(EventType.WAIT_ENDED, now, document, "verdict", claim.node, *_turn(claim.round))

    def signalled(self, now: datetime, signal: Signal) -> Event[bytes]:
        """Somebody sends a signal to the run."""
        document = {"run": self._run, "id": signal.id, "signal": signal.name, "payload": signal.payload}
        return self._event(EventType.SIGNAL_RECEIVED, now, document, "signal", signal.id)

    def received(self, now: datetime, node: str, event: Mapping[str, Any], turn: int) -> Event[bytes]:
        """An event that a node waits for; `event` is its envelope without `data`, and its data."""
        document = {"run": self._run, "node": node, "task": Control.EVENT, "event": event, "worker": self._worker}
        return self._event(EventType.EVENT_RECEIVED, now, document | _round(turn), "event", node, *_turn(turn))

    def ended(self, now: datetime, end: Conclusion, turn: int = 0) -> Event[bytes]:
        """The run is over. `turn` counts its restarts."""
        says = said(end.result) if end.status is RunStatus.COMPLETED else {"error": end.error, "node": end.node}
        return self._event(_END_OF[end.status], now, says | _round(turn), "end", *_turn(turn))

    def ordered(self, now: datetime, order: Order) -> Event[bytes]:
        """A person wants something of the run."""
        document = {"run": self._run, "order": order.id, "reason": order.reason, "steps": list(order.steps)}
        return self._event(EVENT_OF[order.kind], now, document, "order", order.id)

    def _about(self, claim: Claim, task: str) -> dict[str, Any]:
        about = {"run": self._run, "node": claim.node, "task": task, "attempt": claim.attempt, "worker": self._worker}
        return about | _round(claim.round)

    def _event(self, kind: EventType, now: datetime, document: Mapping[str, Any], *parts: str) -> Event[bytes]:
        context = carrier()
        return Event(
            event_id(self._run, *parts),
            self._source,
            kind.value,
            now,
            orjson.dumps(document, option=orjson.OPT_UTC_Z),
            correlation_id=self._run,
            traceparent=context.traceparent,
            tracestate=context.tracestate,
        )
