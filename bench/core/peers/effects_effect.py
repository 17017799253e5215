# SPDX-License-Identifier: Apache-2.0
"""The peer: the PyPI package `effect`, chained in both ways in which that can be written. Prints effects a second."""

import sys
import time

from effect import Effect, TypeDispatcher, sync_perform, sync_performer


class Add:
    """Adds one."""

    def __init__(self, number):
        self.number = number


@sync_performer
def add(dispatcher, intent):
    """The performer."""
    return intent.number + 1


def recursive(count):
    """Each step makes the next one."""

    def step(number):
        return number if number == count else Effect(Add(number)).on(success=step)

    return step(0)


def chained(count):
    """One long program, to whose end each effect is added."""
    program = Effect(Add(0))
    for _ in range(count - 1):
        program = program.on(success=lambda number: Effect(Add(number)))
    return program


def main(what, count):
    """Effects a second, built and performed."""
    began = time.perf_counter()
    program = recursive(count) if what == "recursive" else chained(count)
    assert sync_perform(TypeDispatcher({Add: add}), program) == count
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.stdout.write(f"{max(main(sys.argv[1], int(sys.argv[2])) for _ in range(int(sys.argv[3])))}\n")
