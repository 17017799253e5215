# SPDX-License-Identifier: Apache-2.0
"""Functions that need a component: called with it, and called while a container has injected it. Prints calls a second.

They add two numbers: nothing that would hide what injecting costs.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from nerv.di import Container, Inject

BEST_OF = 7  # runs; what else the machine does makes some of them slower


class Ledger:
    """The component."""

    def __init__(self) -> None:
        self.base = 1


def add(amount: int, ledger: Ledger = Inject(Ledger)) -> int:
    """The sum."""
    return ledger.base + amount


async def add_later(amount: int, ledger: Ledger = Inject(Ledger)) -> int:
    """The sum, too."""
    return ledger.base + amount


async def injected_function(count: int, ledger: Ledger) -> None:
    """The container's component is the default."""
    for number in range(count):
        add(number)


async def direct_function(count: int, ledger: Ledger) -> None:
    """The same component is passed."""
    for number in range(count):
        add(number, ledger)


async def injected_coroutine(count: int, ledger: Ledger) -> None:
    """The container's component is the default."""
    for number in range(count):
        await add_later(number)


async def direct_coroutine(count: int, ledger: Ledger) -> None:
    """The same component is passed."""
    for number in range(count):
        await add_later(number, ledger)


async def rate(calls: Callable[[int, Ledger], Awaitable[None]], count: int) -> float:
    """Calls a second, the best of some runs, while the container runs."""
    container = Container()
    container.singleton(Ledger)
    container.inject(add)
    container.inject(add_later)
    best = float("inf")
    async with container:
        ledger = await container.get(Ledger)
        for _ in range(BEST_OF):
            began = time.perf_counter()
            await calls(count, ledger)
            best = min(best, time.perf_counter() - began)
    return count / best


CONTESTANTS = {
    "injected-function": injected_function,
    "direct-function": direct_function,
    "injected-coroutine": injected_coroutine,
    "direct-coroutine": direct_coroutine,
}


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(rate(CONTESTANTS[sys.argv[1]], int(sys.argv[2])))}\n")
