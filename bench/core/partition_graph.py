# SPDX-License-Identifier: Apache-2.0
"""What both sides run: a random graph without circles, and units whose costs differ. Plain Python: peers import this, too."""

import random
import time

NEEDS = 3  # at most, of one unit
SEED = 20130115
HEAVY_SECONDS = 0.016
LIGHT_SECONDS = 0.002
PROCESSES = 2


def graph(count: int) -> dict[str, tuple[str, ...]]:
    """`count` units, each with the names of 0 to 3 random earlier ones."""
    chance = random.Random(SEED)  # noqa: S311 - no secret
    return {
        f"u{number}": tuple({f"u{chance.randrange(number)}" for _ in range(chance.randint(0, NEEDS))} if number else ())
        for number in range(count)
    }


def noop(*inputs: object) -> None:
    """Nothing."""


def spin(seconds: float) -> None:
    """Use so much of a processor's time; what others take does not count."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def heavy() -> None:
    """A shard that is large."""
    spin(HEAVY_SECONDS)


def light() -> None:
    """A shard that is small."""
    spin(LIGHT_SECONDS)
