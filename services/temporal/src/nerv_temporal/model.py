# SPDX-License-Identifier: Apache-2.0
"""The decisions of one tick, pure: which appends are accepted, at which versions, at which recorded instant."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from nerv.cloudevents.proto_format import from_us
from nerv.errors import NervError
from nerv.history import Accept, Duplicate, Known, StreamView, judge
from nerv.history.lifecycle import MARKS
from nerv.protocols import AppendRequest
from nerv.types import Event


@dataclass(frozen=True, slots=True)
class Stored:
    """An event of history with the digest that its id is remembered by."""

    event: Event[bytes]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request whose events are written by this tick, `events[start:stop]` of the plan."""

    start: int
    stop: int


Verdict = Accepted | Duplicate | NervError


@dataclass(frozen=True, slots=True)
class TickPlan:
    """What one tick writes, and what each request will be told once that is committed."""

    recorded_us: int
    events: list[Stored] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)


def recorded_instant(clock_us: int, last_us: int, closing_us: int) -> int:
    """Recorded time of a tick: never before, and never at, an instant that is recorded or closed (microseconds)."""
    return max(clock_us, last_us + 1, closing_us + 1)


class _Overlay:
    """The streams as they will be after the requests of this tick that were accepted so far."""

    def __init__(self, view: StreamView) -> None:
        self._view = view
        self._versions: dict[str, int] = {}
        self._ids: dict[tuple[str, str], Known] = {}
        self._marks: dict[str, str] = {}

    def version(self, stream: str) -> int:
        version = self._versions.get(stream)
        return self._view.version(stream) if version is None else version

    def known(self, stream: str, event_id: str) -> Known | None:
        return self._ids.get((stream, event_id)) or self._view.known(stream, event_id)

    def mark(self, stream: str) -> str | None:
        return self._marks.get(stream) or self._view.mark(stream)

    def add(self, stream: str, event: Event[bytes], known: Known) -> None:
        self._versions[stream] = known.version
        self._ids[stream, event.id] = known
        if event.type in MARKS:
            self._marks[stream] = event.type


def plan_tick(requests: Sequence[AppendRequest], view: StreamView, recorded_us: int) -> TickPlan:
    """Judge the requests in order, each seeing those before it. Two with the same ids share one append."""
    plan = TickPlan(recorded_us)
    overlay = _Overlay(view)
    recorded = from_us(recorded_us)
    for request in requests:
        verdict = judge(request, overlay)
        if not isinstance(verdict, Accept):
            plan.verdicts.append(verdict)
            continue
        start = len(plan.events)
        for number, (event, digest) in enumerate(zip(request.events, verdict.digests, strict=True)):
            version = verdict.first_version + number
            stored = event.recorded(request.stream, version, recorded)
            plan.events.append(Stored(stored, digest))
            overlay.add(request.stream, event, Known(version, digest))
        plan.verdicts.append(Accepted(start, len(plan.events)))
    return plan
