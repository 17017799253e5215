# SPDX-License-Identifier: Apache-2.0
"""A replica without work takes half of what another has taken and not begun; nothing is done twice by that."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

import nerv
from nerv.protocols.queue import Claim, RunStatus
from nerv.workflows import Drawing
from nerv_scheduler.pools import Threads
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


async def test_what_waits_longer_than_was_thought_is_stolen() -> None:
    """By what tasks took so far, no two of them are worth a move; but all places are taken by some that go on and on."""
    world, gate, calls = gated(ROOM + 2)
    world.fusing.note("other", 0.001)
    world.fusing.note("work", 0.03)
    await world.starter.start("w", {}, "r1")
    async with world.replica("one"):
        await until(lambda: len(calls) == ROOM)
        async with world.replica("two"):
            await until(lambda: len(calls) == ROOM + 2)
            gate.set()
            state = await world.ended("r1")
    assert sorted(calls) == list(range(ROOM + 2))
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


@pytest.mark.parametrize("pool", ["loop", "thread"])
async def test_nobody_waits_behind_a_task_that_takes_longer_than_was_thought(pool: str) -> None:
    """Tasks were tiny so far, and now wait: what was to be done with them after each other fills the places of both replicas."""
    app, gate, begun = nerv.App("made"), threading.Event(), list[int]()

    async def waits(number: int) -> int:
        begun.append(number)
        await until(gate.is_set)
        return number

    def blocks(number: int) -> int:
        begun.append(number)
        gate.wait(60)
        return number

    app.task(name="work", timeout=60.0)(waits if pool == "loop" else blocks)

    @app.workflow("w")
    def workflow(w: Drawing) -> Any:
        return w.map("work", range(24))

    world = World(app, LEASE)
    world.fusing.note("work", 0.001)
    await world.starter.start("w", {}, "r1")
    try:
        async with world.replica("one"):
            await until(lambda: len(begun) == ROOM)
            world.threads = Threads()  # each replica has its own
            async with world.replica("two"):
                await until(lambda: len(begun) == 2 * ROOM)
                gate.set()
                state = await world.ended("r1")
    finally:
        gate.set()
    assert state.status is RunStatus.COMPLETED
    assert sorted(begun) == list(range(24))


async def test_what_is_handed_back_keeps_its_lease_when_its_quantum_ends() -> None:
    """A task that began because one before it took long is held on after that one is done."""
    app, gates, begun = nerv.App("made"), [asyncio.Event() for _ in range(2)], list[int]()

    @app.task()
    async def work(number: int) -> int:
        begun.append(number)
        await gates[number].wait()
        return number

    @app.workflow("w")
    def workflow(w: Drawing) -> Any:
        return w.map(work, range(2))

    world = World(app)
    world.fusing.note("work", 0.001)
    held: list[list[str]] = []
    renew = world.queue.renew

    async def renewing(worker: str, claims: Sequence[Claim]) -> list[Claim]:
        held.append([claim.node for claim in claims])
        return await renew(worker, claims)

    world.queue.renew = renewing  # type: ignore[method-assign]
    await world.starter.start("w", {}, "r1")
    async with world.replica("one"):
        await until(lambda: len(begun) == 2)
        gates[begun[0]].set()
        await until(lambda: [f"work[{begun[1]}]"] in held)
        gates[begun[1]].set()
        await world.ended("r1")
