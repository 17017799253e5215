# SPDX-License-Identifier: Apache-2.0
"""A method of a woven class and a function woven as a value, logging off, and both plain. Prints calls a second.

The function adds two numbers: nothing that would hide what weaving costs.
"""

import sys
import time
from collections.abc import Callable

from nerv.aspects import AspectWeaver, Logged, Measured

BEST_OF = 7  # runs; what else the machine does makes some of them slower


class Adder:
    """Something with a method."""

    def add(self, one: int, other: int) -> int:
        """The sum."""
        return one + other


def add(one: int, other: int) -> int:
    """The sum."""
    return one + other


def rate(call: Callable[[int], None], count: int) -> float:
    """Calls a second, the best of some runs."""
    best = float("inf")
    for _ in range(BEST_OF):
        began = time.perf_counter()
        call(count)
        best = min(best, time.perf_counter() - began)
    return count / best


def methods(count: int) -> None:
    """Calls of the method."""
    adder = Adder()
    for number in range(count):
        adder.add(number, 1)


def values(function: Callable[[int, int], int]) -> Callable[[int], None]:
    """Calls of a function that is held as a value."""

    def run(count: int) -> None:
        for number in range(count):
            function(number, 1)

    return run


def main(what: str, count: int) -> float:
    """Calls a second."""
    weaver = AspectWeaver(Logged(), Measured())
    if what == "plain-method":
        return rate(methods, count)
    if what == "plain-value":
        return rate(values(add), count)
    weaver.weave(Adder, "add", aspects=["logging"] if what == "off-method" else None)
    woven = weaver.function(add)
    weaver.disable("logging")
    if what == "off-method":
        return rate(methods, count)
    weaver.disable("metrics")
    return rate(values(woven), count)


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], int(sys.argv[2]))}\n")
