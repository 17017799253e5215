# SPDX-License-Identifier: Apache-2.0
"""What history says of a schedule, and what a tick comes to. Pure.

Each event of its stream holds the whole state after it, so that the last one is all that is ever read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from nerv.app import Overlap, ScheduleSpec
from nerv.types import format_instant, parse_instant

QUEUED_LIMIT = 100  # ticks that wait for the run before them
GRACE = timedelta(seconds=60)  # a tick that is younger was not missed
CATEGORY = "schedule"


class Became(StrEnum):
    """What became of a tick."""

    STARTED = "started"
    SKIPPED = "skipped"
    QUEUED = "queued"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """Where a schedule stands. Ticks after `position` are still to be followed; `queued` ones wait for the run before them.

    `latest` is the run that was started last, `replaced` the one that it is to replace. `version` is that of the stream.
    """

    spec: str
    position: datetime
    paused: bool = False
    became: str = ""
    why: str = ""
    latest: str = ""
    latest_tick: datetime | None = None
    replaced: str = ""
    queued: tuple[datetime, ...] = ()
    version: int = 0

    def encode(self) -> dict[str, Any]:
        """As JSON; `decode` takes it."""
        return {
            "spec": self.spec,
            "position": format_instant(self.position),
            "paused": self.paused,
            "became": self.became,
            "why": self.why,
            "latest": self.latest,
            "latest_tick": None if self.latest_tick is None else format_instant(self.latest_tick),
            "replaced": self.replaced,
            "queued": [format_instant(tick) for tick in self.queued],
        }

    @classmethod
    def decode(cls, document: Mapping[str, Any], version: int) -> "ScheduleState":
        """The state that an event holds."""
        tick = document["latest_tick"]
        return cls(
            document["spec"],
            parse_instant(document["position"]),
            document["paused"],
            document["became"],
            document["why"],
            document["latest"],
            None if tick is None else parse_instant(tick),
            document["replaced"],
            tuple(parse_instant(text) for text in document["queued"]),
            version,
        )


def stream_of(schedule: str) -> str:
    """The stream that is the truth about a schedule."""
    return f"{CATEGORY}-{schedule}"


def run_of(schedule: str, tick: datetime) -> str:
    """The run of a tick: the same for whoever starts it."""
    return f"{schedule}-{tick:%Y-%m-%dT%H:%M:%SZ}"


def declared(spec: ScheduleSpec, state: ScheduleState | None, now: datetime) -> ScheduleState | None:
    """The state of a schedule that is new, or is not as it was; None for one that is.

    A new one ticks from now on. A changed one follows its ticks of the last minute, too: while replicas of the old and the new
    app run side by side they take turns in declaring what they know, and no tick may fall in between.
    """
    text = str(spec.ticks)
    if state is None:
        return ScheduleState(text, now)
    return None if state.spec == text else replace(state, spec=text, position=max(state.position, now - GRACE))


def ticked(spec: ScheduleSpec, state: ScheduleState, tick: datetime, *, busy: bool, refusal: str) -> ScheduleState:
    """The state after a tick. `busy`: the run before it goes on; `refusal`: why its run cannot be started."""
    state = replace(state, position=tick, replaced="", why="")
    if refusal:
        return replace(state, became=Became.REFUSED, why=refusal)
    waits = busy or bool(state.queued)
    if waits and spec.overlap is Overlap.SKIP:
        return replace(state, became=Became.SKIPPED, why=f"run {state.latest} goes on")
    if waits and spec.overlap is Overlap.QUEUE:
        if len(state.queued) >= QUEUED_LIMIT:
            return replace(state, became=Became.SKIPPED, why=f"{QUEUED_LIMIT} ticks are queued, the limit")
        return replace(state, became=Became.QUEUED, queued=(*state.queued, tick))
    replaced = state.latest if busy and spec.overlap is Overlap.CANCEL else ""
    return _started(spec, replace(state, replaced=replaced), tick)


def released(spec: ScheduleSpec, state: ScheduleState) -> ScheduleState:
    """The state after the first queued tick was let go."""
    return _started(spec, replace(state, queued=state.queued[1:], replaced="", why=""), state.queued[0])


def _started(spec: ScheduleSpec, state: ScheduleState, tick: datetime) -> ScheduleState:
    return replace(state, became=Became.STARTED, latest=run_of(spec.name, tick), latest_tick=tick)


def paused(state: ScheduleState, now: datetime, *, pause: bool) -> ScheduleState:
    """The state after it was paused or resumed; what would have ticked while it was paused is passed over."""
    return replace(state, paused=pause) if pause else replace(state, paused=False, position=max(state.position, now))
