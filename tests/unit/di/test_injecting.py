# SPDX-License-Identifier: Apache-2.0
"""Functions whose defaults are components."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from nerv.di import Container, Inject
from nerv.errors import Misconfigured


class Ledger:
    """Something to be injected."""

    def __init__(self) -> None:
        self.total = 0


def add(amount: int, ledger: Ledger = Inject(Ledger)) -> int:
    """The new total."""
    ledger.total += amount
    return ledger.total


async def test_a_default_is_the_component_while_the_container_runs() -> None:
    """The function stays the very function, takes another one where it is given, and after the life is as it was."""
    container = Container()
    container.singleton(Ledger, lazy=True)
    assert container.inject(add) is add
    other = Ledger()
    async with container:
        assert add(1) == add(0)
        assert (await container.get(Ledger)).total == 1
        assert add(5, other) == 5
    with pytest.raises(Misconfigured, match="Ledger is injected while its container runs; enter it first"):
        add(1)


async def test_methods_coroutine_functions_keywords_and_decorated_ones_are_injected() -> None:
    """Whatever has defaults."""

    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any) -> list[Any]:
            return [function(*args), function(*args)]

        return run

    container = Container()
    container.value("size", 7)

    class Shelf:
        @container.inject
        def room(self, *, size: int = Inject("size")) -> int:
            return size

    @container.inject
    async def later(size: int = Inject("size")) -> int:
        await asyncio.sleep(0)
        return size

    @container.inject
    @twice
    def decorated(size: int = Inject("size")) -> int:
        return size

    async with container:
        assert Shelf().room() == 7
        assert await later() == 7
        assert decorated() == [7, 7]


async def test_two_containers_do_not_fight_over_a_function() -> None:
    """The second is told, and takes nothing away from the first."""
    one, two = Container("one"), Container("two")
    for container in (one, two):
        container.singleton(Ledger)
        container.inject(add)
    async with one:
        with pytest.raises(Misconfigured, match="add has the components of another container that runs"):
            await two.__aenter__()
        assert add(1) == 1
    async with two:
        assert add(2) == 2


async def test_what_cannot_be_injected_is_refused() -> None:
    """With what to do instead."""
    container = Container()
    container.factory("new", list)
    container.inject(lambda new=Inject("new"): new)
    with pytest.raises(Misconfigured, match="wants new injected, which is a factory: a default is one for all calls"):
        await container.__aenter__()
    other = Container()
    other.inject(lambda gone=Inject("gone"): gone)
    with pytest.raises(Misconfigured, match="<lambda> wants gone injected, which nobody provides"):
        other.graph()
    with pytest.raises(Misconfigured, match="has nothing to inject: give a parameter the default Inject"):
        container.inject(lambda size=3: size)
    with pytest.raises(Misconfigured, match="no function of Python"):
        container.inject(functools.partial(add))


def test_functions_are_in_the_graph() -> None:
    """They need what is injected into them."""
    container = Container()
    container.singleton(Ledger)
    container.inject(add)
    assert container.graph().text() == "add() (function)\n└── Ledger (singleton, created)"
    assert container.describe().parts[-1].inputs == ("Ledger",)


async def test_an_override_is_injected() -> None:
    """Tests swap what functions use without touching them."""
    container = Container()
    container.singleton(Ledger)
    container.inject(add)
    fake = Ledger()
    with container.override(Ledger, fake):
        async with container:
            add(3)
    assert fake.total == 3


async def test_what_drains_may_still_call_injected_functions() -> None:
    """The defaults are as written only when all is stopped."""

    async def worker(ledger: Ledger) -> AsyncIterator[str]:
        yield "worker"
        drained.append(add(2))

    drained: list[int] = []
    container = Container()
    container.singleton(Ledger)
    container.singleton("worker", worker)
    container.inject(add)
    async with container:
        add(1)
    assert drained == [3]
