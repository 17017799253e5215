# SPDX-License-Identifier: Apache-2.0
"""Tasks and components are one graph, which a partitioner runs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from nerv.di import Container
from nerv.errors import Misconfigured, NotFound
from nerv.partition import QuantumPartitioner


class Prices:
    """A component that can be pickled."""

    def __init__(self) -> None:
        self.factor = 3


def flights() -> list[int]:
    """A task that needs nothing."""
    return [1, 2, 3]


def worth(flights: list[int], prices: Prices) -> int:
    """A task that needs a task and a component."""
    return prices.factor * sum(flights)


def shop(told: list[str], *, lazy: bool) -> Container:
    """Two tasks, and two components that tell of their lives."""
    container = Container("shop")

    async def session() -> AsyncIterator[str]:
        told.append("+session")
        yield "session"
        told.append("-session")

    async def prices(session: str) -> AsyncIterator[Prices]:
        told.append("+prices")
        yield Prices()
        told.append("-prices")

    container.singleton("session", session, lazy=lazy)
    container.singleton(Prices, prices, lazy=lazy)
    container.singleton("unused", lambda: told.append("+unused"), lazy=True)
    container.task(worth)
    container.task(flights)
    return container


@pytest.mark.parametrize("backend", ["threads", "asyncio", "processes"])
async def test_tasks_run_with_components_and_with_each_others_results(
    backend: Literal["threads", "asyncio", "processes"],
) -> None:
    """On every backend."""
    told: list[str] = []
    async with shop(told, lazy=False) as container:
        record = await QuantumPartitioner(backend).run(await container.tasks())
        assert record.check().results == {"flights": [1, 2, 3], "worth": 18}
    assert told == ["+session", "+prices", "-prices", "-session"]


@pytest.mark.parametrize("backend", ["threads", "asyncio"])
async def test_a_lazy_component_is_started_when_it_is_its_turn_in_the_one_graph(
    backend: Literal["threads", "asyncio"],
) -> None:
    """It is a unit between those that need it and those that it needs; the container stops it at the end of its own life."""
    told: list[str] = []
    async with shop(told, lazy=True) as container:
        assert told == []
        record = (await QuantumPartitioner(backend).run(await container.tasks())).check()
        assert record["worth"] == 18
        assert set(record.results) == {"session", "Prices", "flights", "worth"}
        ended = [span.unit for span in record.gantt]
        assert ended.index("session") < ended.index("Prices") < ended.index("worth")
        assert record["Prices"] is await container.get(Prices)
        assert told == ["+session", "+prices"]
        again = (await QuantumPartitioner(backend).run(await container.tasks())).check()
        assert set(again.results) == {"flights", "worth"}
    assert told == ["+session", "+prices", "-prices", "-session"]


async def test_a_component_that_does_not_start_cancels_the_tasks_that_need_it_and_no_others() -> None:
    """The record says why."""
    container = Container()

    async def prices() -> Prices:
        raise OSError("no prices today")

    container.singleton(Prices, prices, lazy=True)
    container.task(worth)
    container.task(flights)
    async with container:
        record = await QuantumPartitioner("threads", on_error="continue").run(await container.tasks())
    assert str(record.failures["Prices"]) == "no prices today"
    assert "Prices" in record.cancelled["worth"]
    assert record["flights"] == [1, 2, 3]


async def test_only_what_is_asked_for_runs_with_all_that_it_needs() -> None:
    """Nothing else is started."""
    told: list[str] = []
    async with shop(told, lazy=True) as container:
        record = (await QuantumPartitioner("asyncio").run(await container.tasks("flights"))).check()
        with pytest.raises(NotFound):
            record["worth"]
        with pytest.raises(Misconfigured, match="session is no task"):
            await container.tasks("session")
    assert told == []


async def test_processes_are_not_given_what_only_the_container_can_start() -> None:
    """The unit fails, saying what to do; once it was asked for, its value travels."""
    told: list[str] = []
    async with shop(told, lazy=True) as container:
        partitioner = QuantumPartitioner("processes")
        record = await partitioner.run(await container.tasks("worth"))
        with pytest.raises(Misconfigured, match=r"Ask for it before: await container.get\(session\)"):
            record["session"]
        await container.get(Prices)
        assert (await partitioner.run(await container.tasks("worth")))["worth"] == 18


async def test_a_task_gets_what_a_factory_makes_and_keeps_its_time_out() -> None:
    """One for each task."""
    container = Container()
    container.factory("basket", list)

    async def hang(basket: list[int]) -> None:
        await asyncio.Event().wait()

    def fill(basket: list[int]) -> list[int]:
        return [*basket, 1]

    container.task(fill)
    container.task(fill, name="fill again")
    container.task(hang, timeout=0.01)
    async with container:
        record = await QuantumPartitioner("asyncio", on_error="continue").run(await container.tasks())
    assert record["fill"] == record["fill again"] == [1]
    assert record.unknown == ("hang",)


async def test_the_tasks_of_a_container_that_does_not_run_cannot_be_had() -> None:
    """Their components would not be there."""
    with pytest.raises(Misconfigured, match="ask for its tasks within its `async with`"):
        await shop([], lazy=False).tasks()
