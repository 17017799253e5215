# SPDX-License-Identifier: Apache-2.0
"""What a run has done so far, in its stream: the plan of each round, and what became of each object.

Whoever goes on with a run that was cut off finds there where it stopped.
"""

import contextlib
import resource
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from nerv.errors import NotFound, Unavailable, UnknownOutcome, VersionConflict
from nerv.protocols import Appended, AppendRequest, Clock, History, ReadQuery
from nerv.protocols.side import Step, WriteOutcome, Written
from nerv.sync.plan import Plan
from nerv.types import Event, EventType, format_instant, new_event_id
from nerv_sync.journal import run_stream
from nerv_sync.model import Order

_DONE = "done"
_KEPT = frozenset({EventType.SYNC_PLANNED, EventType.SYNC_OUTCOMES})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stopped: in which round, of which plan, with which steps done (side and key)."""

    round: int
    plan: str
    done: frozenset[tuple[str, str]]


class RunRecord:
    """The record of one run. What cannot be recorded ends it: it could not be gone on with."""

    def __init__(self, history: History, clock: Clock, order: Order, attempt: int) -> None:
        self._history = history
        self._clock = clock
        self._stream = run_stream(order.sync, order.run)
        self._attempt = attempt

    async def place(self) -> Place | None:
        """Where the run stopped; None for one that had nothing to do yet."""
        found: tuple[int, str] | None = None
        done: set[tuple[str, str]] = set()
        async for event in self._events():
            data = orjson.loads(event.data)
            if event.type == EventType.SYNC_PLANNED:
                if found is None or found != (data["round"], data["plan"]):
                    found, done = (data["round"], data["plan"]), set()
            else:
                done |= {(side, key) for side, key, outcome in data["outcomes"] if outcome == _DONE}
        return None if found is None else Place(*found, frozenset(done))

    async def planned(self, number: int, plan: Plan, seconds: float) -> None:
        """A round begins: this is its plan."""
        data = {"round": number, "plan": plan.id, "summary": plan.summary(), "seconds": round(seconds, 3)}
        await self._append(EventType.SYNC_PLANNED, {**data, "memory_mib": memory_mib()})

    async def outcomes(self, steps: Sequence[Step], outcomes: Sequence[WriteOutcome]) -> None:
        """What became of a batch of steps."""
        rows = [[s.side, s.key, verdict(one)] for s, one in zip(steps, outcomes, strict=True)]
        await self._append(EventType.SYNC_OUTCOMES, {"outcomes": rows})

    async def objects(self, limit: int) -> list[dict[str, Any]]:
        """What became of each object, in the order in which it was written; at most so many."""
        found: list[dict[str, Any]] = []
        number = 0
        async for event in self._events():
            data = orjson.loads(event.data)
            if event.type == EventType.SYNC_PLANNED:
                number = data["round"]
                continue
            when = format_instant(event.time)
            found += [
                {
                    "side": side,
                    "key": key,
                    "outcome": outcome,
                    "round": number,
                    "attempt": data["attempt"],
                    "when": when,
                }
                for side, key, outcome in data["outcomes"]
            ]
            if len(found) >= limit:
                break
        return found[:limit]

    async def _events(self) -> AsyncIterator[Event[bytes]]:
        with contextlib.suppress(NotFound):
            async for event in self._history.read(self._stream, ReadQuery(types=_KEPT)):
                yield event

    async def _append(self, kind: EventType, data: dict[str, Any]) -> None:
        event = Event(
            new_event_id(), "nerv:sync", kind, self._clock.now(), orjson.dumps({**data, "attempt": self._attempt})
        )
        [outcome] = await self._history.append([AppendRequest(self._stream, [event])])
        if not isinstance(outcome, Appended):
            raise outcome


def verdict(outcome: WriteOutcome) -> str:
    """An outcome as the journal calls it."""
    if isinstance(outcome, Written):
        return _DONE
    kinds = ((VersionConflict, "moved"), (UnknownOutcome, "unknown"), (Unavailable, "away"))
    return next((name for kind, name in kinds if isinstance(outcome, kind)), "refused")


def memory_mib() -> float:
    """The most memory that this process has held, MiB."""
    # Where there is /proc it is told by that: `ru_maxrss` begins with that of the process that has started this one.
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                kib = int(line.split()[1])
    return round(kib / 1024, 1)
