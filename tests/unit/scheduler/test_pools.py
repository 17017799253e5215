# SPDX-License-Identifier: Apache-2.0
"""Tasks in processes of their own: bounded in number and memory, killed when they take too long, never in the way of the loop."""

import asyncio
import os
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

import nerv
from nerv.errors import Misconfigured
from nerv.protocols.queue import RunStatus
from nerv_scheduler.invoke import callees, invoke
from nerv_scheduler.pools import Processes, Threads
from tests.unit.scheduler import crunching
from tests.unit.scheduler.scheduler_in_memory import World

MIB = 1024 * 1024


@pytest_asyncio.fixture
async def processes() -> AsyncIterator[Processes]:
    """At most two processes of at most 1 GiB."""
    async with Processes(2, 1024 * MIB, Threads()) as made:
        yield made


async def test_a_task_for_processes_runs_in_one() -> None:
    """Not in the replica's own; its result is recorded like any other."""
    world = World(crunching.app, 60.0)
    await world.starter.start("crunched", {}, "r1")
    async with world.replica():
        state = await world.ended("r1")
    assert state.status is RunStatus.COMPLETED, state.error
    pid, square = orjson.loads(state.result)
    assert (pid != os.getpid(), square) == (True, 49)


async def test_there_are_never_more_processes_than_the_bound(processes: Processes) -> None:
    """Six calls at once run in two processes; those are used again."""
    found = await asyncio.gather(*(processes.call(crunching.crunch, [n]) for n in range(6)))
    assert [square for _, square in found] == [0, 1, 4, 9, 16, 25]
    assert len({pid for pid, _ in found}) <= processes.most
    assert processes.busy == 0


async def test_a_process_has_so_much_memory_and_no_more(processes: Processes) -> None:
    """What wants more is refused there, and the replica goes on."""
    assert await processes.call(crunching.greedy, [MIB]) == MIB
    with pytest.raises(MemoryError):
        await processes.call(crunching.greedy, [4096 * MIB])


async def test_a_task_that_takes_too_long_is_killed(processes: Processes) -> None:
    """Its attempt has failed, and the next call has a process."""
    task = callees(crunching.app)["endless"]
    with pytest.raises(TimeoutError, match=r"longer than 0\.5 s"):
        await invoke(task, [], None, Threads(), processes)
    assert (await processes.call(crunching.crunch, [3]))[1] == 9


async def test_the_death_of_a_process_is_the_failure_of_its_task(processes: Processes) -> None:
    """It says what may have been the reason."""
    with pytest.raises(RuntimeError, match="the process that ran it has died"):
        await processes.call(crunching.deadly, [])


def test_a_function_that_no_process_can_find_is_refused_at_the_start() -> None:
    """One that is made within another function."""
    app = nerv.App("made")

    @app.task(pool="processes")
    def inner() -> None:
        """Nothing."""

    with pytest.raises(Misconfigured, match="at the top of a module"):
        callees(app)
