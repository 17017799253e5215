# SPDX-License-Identifier: Apache-2.0
"""Ours: chained effects, and equal small effects one by one or by a batch handler. Prints effects a second.

A program is built and run within the time. The small effects wait for one turn of the loop, the least that any real one
waits: each for its own, or all of a call for one.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import ClassVar

from nerv.effects import Effect, EffectMonad, Handlers, ask, parallel_all, pure, sequence
from nerv.types import frozen


@frozen
class Add(Effect[int]):
    """Adds one."""

    kind: ClassVar[str] = "bench.add"
    number: int


def recursive(count: int) -> EffectMonad[int]:
    """Each step makes the next one."""

    def step(number: int) -> EffectMonad[int]:
        return pure(number) if number == count else ask(Add(number)).flat_map(step)

    return step(0)


def chained(count: int) -> EffectMonad[int]:
    """One long program, to whose end each effect is added."""
    program = ask(Add(0))
    for _ in range(count - 1):
        program = program.flat_map(Add)
    return program


async def one(effect: Add) -> int:
    """A handler of single effects."""
    await asyncio.sleep(0)
    return effect.number + 1


async def many(effects: Sequence[Add]) -> list[int]:
    """A handler of batches."""
    await asyncio.sleep(0)
    return [effect.number + 1 for effect in effects]


def plus_one(effect: Add) -> int:
    """A handler that waits for nothing."""
    return effect.number + 1


async def main(what: str, count: int) -> float:
    """Effects a second."""
    effects = [Add(number) for number in range(count)]
    began = time.perf_counter()
    if what == "recursive":
        assert await recursive(count).run(Handlers().on(Add, plus_one)) == count
    elif what == "chained":
        assert await chained(count).run(Handlers().on(Add, plus_one)) == count
    elif what == "single":
        assert (await sequence(effects).run(Handlers().on(Add, one)))[-1] == count
    else:
        assert (await parallel_all(effects).run(Handlers().on_batch(Add, many)))[-1] == count
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    figures = [asyncio.run(main(sys.argv[1], int(sys.argv[2]))) for _ in range(int(sys.argv[3]))]
    sys.stdout.write(f"{max(figures)}\n")
