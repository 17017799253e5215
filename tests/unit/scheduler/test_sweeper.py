# SPDX-License-Identifier: Apache-2.0
"""What one run lost is found by comparing history with the queue."""

from datetime import UTC, datetime

import pytest

import nerv
from nerv.protocols import AppendRequest
from nerv.types import Event
from nerv_scheduler.sweeper import Sweeper
from tests.unit.scheduler.scheduler_in_memory import World, made, until


async def test_a_run_that_the_queue_does_not_know_is_put_back() -> None:
    """One of three, once; those that are there, or have ended, are left alone."""
    world = made(lambda: 1)
    async with world.replica():
        await world.starter.start("w", {}, "ended")
        await world.ended("ended")
    sweeper = Sweeper(world.queue, world.recovery, 600.0)
    await world.starter.start("w", {}, "there")
    await world.starter.start("w", {}, "lost")
    del world.queue._runs["lost"]
    del world.queue._runs["ended"]
    assert await sweeper.sweep() == 1
    assert await world.queue.known(["there", "lost", "ended"]) == [True, True, False]
    assert await sweeper.sweep() == 0
    async with world.replica():
        assert (await world.ended("lost")).result == b"1"
        await world.ended("there")
    assert await world.recovery.unfinished() == []


async def test_what_wakes_a_waiting_run_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time and its key are lost, and it is known all the same: a sweep makes good for it, run by run in turn."""
    app = nerv.App("made")
    app.workflow("w")(lambda w: w.signal("go", within=3600))
    world = World(app)
    async with world.replica():
        for run in ("r1", "r2", "r3"):
            await world.starter.start("w", {}, run)
        await until(lambda: len(world.queue._parked) == 3)
        lost = dict(world.queue._due)
        world.queue._due.clear()
        sweeper = Sweeper(world.queue, world.recovery, 600.0)
        monkeypatch.setattr("nerv_scheduler.sweeper.WHOLE", 2)
        assert await sweeper.sweep() == 0
        assert len(world.queue._due) == 2
        await sweeper.sweep()
        assert set(world.queue._due) == set(lost)


@pytest.mark.parametrize("data", [b"no JSON", b"[]", b'{"task": 1}', b'{"task": ":map", "node": 7, "count": "x"}'])
async def test_a_run_whose_history_cannot_be_read_holds_up_no_other(data: bytes) -> None:
    """Somebody has written into the stream of a run: after a loss of all, the other run is put back and ends."""
    world = made(lambda: 1)
    await world.starter.start("w", {}, "spoilt")
    await world.starter.start("w", {}, "sound")
    stray = Event("stray", "somebody", "nerv.map.expanded.v1", datetime(2026, 1, 1, tzinfo=UTC), data)
    await world.history.append([AppendRequest("run-spoilt", [stray])])
    world.queue.wipe()
    async with world.replica():
        assert (await world.ended("sound")).result == b"1"
    await world.recovery.restore_all()
    assert await world.queue.awaiting(["k"]) == {}
    assert await Sweeper(world.queue, world.recovery, 600.0).sweep() == 0
