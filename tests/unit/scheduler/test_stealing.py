# SPDX-License-Identifier: Apache-2.0
"""A replica without work takes half of what another has taken and not begun; nothing is done twice by that."""

import asyncio
from typing import Any, NamedTuple

import nerv
from nerv.protocols.queue import RunStatus
from nerv.workflows import Drawing
from tests.unit.scheduler.scheduler_in_memory import World, until

LEASE = 30.0
ROOM = 4


class Gated(NamedTuple):
    """A world whose workflow has so many tasks, which wait for a gate; `calls` are those that have begun."""

    world: World
    gate: asyncio.Event
    calls: list[int]


def gated(count: int) -> Gated:
    """Nobody knows yet how long its tasks take."""
    app = nerv.App("made")
    gate = asyncio.Event()
    calls: list[int] = []

    @app.task()
    async def work(number: int) -> int:
        calls.append(number)
        await gate.wait()
        return number

    @app.workflow("w")
    def workflow(w: Drawing) -> Any:
        return w.map(work, range(count))

    return Gated(World(app, LEASE), gate, calls)


async def test_two_replicas_share_what_there_is() -> None:
    """Each takes as much as it thinks it can do at once, and leaves the rest to the other."""
    world, gate, calls = gated(40)
    world.fusing.note("work", 0.02)  # two fit into a quantum: it takes eight, and begins them four by four
    await world.starter.start("w", {}, "r1")
    async with world.replica("one"):
        await until(lambda: len(calls) == ROOM)
        async with world.replica("two"):
            await until(lambda: len(calls) == 2 * ROOM)
            gate.set()
            state = await world.ended("r1")
    assert state.status is RunStatus.COMPLETED
    assert sorted(calls) == list(range(40))
    assert {node.worker for node in state.nodes.values()} == {"one", "two"}


async def test_a_backlog_is_stolen_when_nothing_else_is_there() -> None:
    """All tasks are in the hands of one replica; another one comes, and does some of those that have not begun."""
    world, gate, calls = gated(24)
    world.fusing.note("other", 0.001)  # tasks were tiny so far, and so it takes many; of this kind nobody knows
    await world.starter.start("w", {}, "r1")
    async with world.replica("one"):
        await until(lambda: len(calls) == ROOM)
        async with world.replica("two"):
            await until(lambda: len(calls) == 2 * ROOM)
            assert world.counts["steals"] > 0
            gate.set()
            state = await world.ended("r1")
    assert state.status is RunStatus.COMPLETED
    assert sorted(calls) == list(range(24))
    assert {node.worker for node in state.nodes.values()} == {"one", "two"}


async def test_without_stealing_a_backlog_stays_where_it_is() -> None:
    """A setting turns it off."""
    world, gate, calls = gated(24)
    world.fusing.note("other", 0.001)
    await world.starter.start("w", {}, "r1")
    async with world.replica("one"):
        await until(lambda: len(calls) == ROOM)
        async with world.replica("two", stealing=False):
            gate.set()
            state = await world.ended("r1")
    assert {node.worker for node in state.nodes.values()} == {"one"}
