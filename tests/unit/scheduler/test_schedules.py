# SPDX-License-Identifier: Apache-2.0
"""Schedules on a history in memory, followed by two replicas under a clock of the test's own."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import nerv
from nerv.errors import Misconfigured, NotFound, Unavailable, VersionConflict
from nerv.protocols.queue import RunStatus
from nerv.workflows import Drawing, Output
from nerv_scheduler.record import Signal
from nerv_scheduler.schedules import Schedules, Ticking
from nerv_scheduler.schedules.state import GRACE
from tests.unit.scheduler.scheduler_in_memory import World

NOON = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        """As it was set."""
        return self.time

    def monotonic(self) -> float:
        """The same in seconds."""
        return self.time.timestamp()


class Scheduled:
    """A workflow that waits for a signal, on a schedule of one tick a minute, and two replicas that follow it."""

    def __init__(self, **options: Any) -> None:
        app = nerv.App("scheduled")

        @app.workflow("w")
        def workflow(w: Drawing, tick: str = "") -> Output:
            return w.signal("go")

        defaults: dict[str, Any] = {"every": 60, "input": lambda tick: {"tick": tick.isoformat()}}
        app.schedule("s", "w", **(defaults | options))
        app.check()
        self.world = World(app)
        self.clock = Clock()
        schedules = Schedules(app, self.world.history, self.clock, "t.scheduler")
        self.schedules, self.spec = schedules, app.schedules["s"]
        parts = (schedules, self.world.starter, self.world.recorder, self.world.steering, self.clock)
        self.replicas = [Ticking(*parts), Ticking(*parts)]

    async def follow(self, **later: float) -> str:
        """What became of the schedule after some time, followed by both replicas at once."""
        self.clock.time += timedelta(**later)
        for _ in range(3):  # who was slower than the other looks again, as it does a second later
            await asyncio.gather(*(replica.follow(self.spec) for replica in self.replicas), return_exceptions=True)
        state = await self.schedules.read("s")
        assert state is not None
        return f"{state.became} {state.latest}".strip()

    async def runs(self) -> list[str]:
        """The runs that were started, in order."""
        return [run for run, _ in reversed(await self.world.queue.runs("w", 100))]

    async def events(self) -> list[str]:
        """The types of the schedule's events."""
        return [event.type.split(".")[2] for event in await self.world.stream("schedule-s")]


def tick(minute: int) -> str:
    """The run of a minute after noon."""
    return f"s-2026-01-01T12:{minute:02}:00Z"


async def test_a_tick_starts_one_run_whoever_follows_it() -> None:
    """Two replicas follow it: one run under an id made of schedule and instant, with the input of the tick."""
    found = Scheduled(overlap="allow")
    assert await found.follow() == ""
    assert await found.follow(seconds=20) == ""
    assert await found.follow(seconds=10) == f"started {tick(1)}"
    assert await found.follow(seconds=59) == f"started {tick(1)}"
    assert await found.follow(seconds=1) == f"started {tick(2)}"
    assert await found.runs() == [tick(1), tick(2)]
    assert (await found.world.recorder.read(tick(2))).input == {"tick": "2026-01-01T12:02:00+00:00"}
    assert await found.events() == ["declared", "ticked", "ticked"]


async def test_a_tick_that_was_recorded_by_a_replica_that_died_is_started() -> None:
    """It was recorded, and its run was not started: who begins next starts it."""
    found = Scheduled()
    await found.follow()

    async def dies(*args: Any) -> bool:
        raise Unavailable("the process is gone")

    start, found.world.starter.start = found.world.starter.start, dies  # type: ignore[method-assign, assignment]
    assert await found.follow(minutes=1) == f"started {tick(1)}"
    assert await found.runs() == []
    found.world.starter.start = start  # type: ignore[method-assign]
    await found.follow(seconds=1)
    assert await found.runs() == [tick(1)]


async def test_overlap_skips() -> None:
    """While the run before goes on a tick is passed over, and says so; after its end they go on."""
    found = Scheduled(overlap="skip")
    await found.follow()
    await found.follow(minutes=1)
    assert await found.follow(minutes=1) == f"skipped {tick(1)}"
    state = await found.schedules.read("s")
    assert state is not None
    assert state.why == f"run {tick(1)} goes on"
    await ended(found, tick(1))
    assert await found.follow(minutes=1) == f"started {tick(3)}"
    assert await found.runs() == [tick(1), tick(3)]


async def test_overlap_queues() -> None:
    """Ticks wait for the run before them, each in its turn."""
    found = Scheduled(overlap="queue")
    await found.follow()
    await found.follow(minutes=1)
    assert await found.follow(minutes=1) == f"queued {tick(1)}"
    assert await found.follow(minutes=1) == f"queued {tick(1)}"
    assert await found.runs() == [tick(1)]
    await ended(found, tick(1))
    assert await found.follow(seconds=1) == f"started {tick(2)}"
    await ended(found, tick(2))
    assert await found.follow(seconds=1) == f"started {tick(3)}"
    assert await found.runs() == [tick(1), tick(2), tick(3)]


async def test_overlap_cancels() -> None:
    """The run before is cancelled, and the next one started."""
    found = Scheduled(overlap="cancel")
    await found.follow()
    await found.follow(minutes=1)
    assert await found.follow(minutes=1) == f"started {tick(2)}"
    async with found.world.replica():
        state = await found.world.ended(tick(1))
    assert (state.status, state.error) == (RunStatus.CANCELLED, "cancelled: schedule s has ticked")
    assert await found.runs() == [tick(1), tick(2)]


async def test_after_a_time_without_replicas_the_latest_missed_ticks_are_followed() -> None:
    """An hour is missed: two of its ticks are followed late, the others passed over."""
    found = Scheduled(overlap="allow", catch_up=2)
    await found.follow()
    await found.follow(hours=1)
    assert await found.runs() == [tick(58), tick(59), "s-2026-01-01T13:00:00Z"]


async def test_a_paused_schedule_starts_nothing_and_catches_up_with_nothing() -> None:
    """Paused twice it is paused once; resumed it ticks from then on."""
    found = Scheduled(overlap="allow", catch_up=5)
    await found.follow()
    await found.schedules.pause("s", pause=True)
    await found.schedules.pause("s", pause=True)
    await found.follow(minutes=5)
    assert await found.runs() == []
    await found.schedules.pause("s", pause=False)
    await found.follow(seconds=10)
    assert await found.runs() == []
    await found.follow(minutes=1)
    assert await found.runs() == [tick(6)]
    assert await found.events() == ["declared", "paused", "resumed", "ticked"]
    with pytest.raises(NotFound, match="there is no schedule 'x'; there are s"):
        await found.schedules.pause("x", pause=True)


async def test_a_tick_whose_run_cannot_be_drawn_is_refused() -> None:
    """It says why, and the next tick is looked at anew."""
    inputs: list[dict[str, Any]] = [{"tock": 1}, {"tick": "now"}]
    found = Scheduled(input=lambda tick: inputs[tick.minute - 1])
    await found.follow()
    assert await found.follow(minutes=1) == "refused"
    state = await found.schedules.read("s")
    assert state is not None
    assert "has tock, which is not a parameter" in state.why
    assert await found.follow(minutes=1) == f"started {tick(2)}"


async def test_a_changed_schedule_ticks_from_its_change_on() -> None:
    """Ticks that the new one would have had before are not caught up with, but for those of the last minute."""
    found = Scheduled(overlap="allow", catch_up=10)
    await found.follow()
    await found.follow(minutes=1)
    changed = Scheduled(overlap="allow", catch_up=10, every=10)
    changed.world.history = found.world.history
    schedules = Schedules(changed.world.app, found.world.history, found.clock, "t.scheduler")
    before = await found.schedules.read("s")
    assert before is not None
    position = max(before.position, found.clock.time - GRACE)
    state = await schedules.current(changed.spec)
    assert (state.spec, state.position, state.latest) == ("every 10 s", position, tick(1))
    with pytest.raises(VersionConflict):
        await found.schedules.append("s", nerv.types.EventType.SCHEDULE_PAUSED, await stale(found), NOON)


async def test_a_rolling_update_of_a_schedule_loses_no_tick() -> None:
    """Replicas of the old app and of the new one take turns in declaring what they know, on both sides of a tick."""
    old = Scheduled(overlap="allow", every=60)
    new = Scheduled(overlap="allow", every=30)
    new.world.history = old.world.history
    new.clock = old.clock
    parts = (Schedules(new.world.app, old.world.history, old.clock, "t.scheduler"), old.world.starter)
    follower = Ticking(*parts, old.world.recorder, old.world.steering, old.clock)
    assert await old.follow() == ""
    for _ in range(5):
        old.clock.time += timedelta(seconds=14)
        await follower.follow(new.spec)
        old.clock.time += timedelta(seconds=1)
        await old.replicas[0].follow(old.spec)
    assert await old.runs() == [tick(1), "s-2026-01-01T12:01:30Z"]


async def stale(found: Scheduled) -> Any:
    """A state that was read a while ago."""
    from dataclasses import replace

    state = await found.schedules.read("s")
    assert state is not None
    return replace(state, version=1)


def test_a_schedule_names_a_workflow() -> None:
    """One that is not declared is refused when the app is checked."""
    app = nerv.App("scheduled")
    app.schedule("s", "nothing", every=60)
    with pytest.raises(Misconfigured, match="schedule s names workflow nothing"):
        app.check()


async def ended(found: Scheduled, run: str) -> None:
    """Have a run end."""
    await found.world.steering.signal(run, Signal("x", "go"))
    async with found.world.replica():
        await found.world.ended(run)
