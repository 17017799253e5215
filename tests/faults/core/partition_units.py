# SPDX-License-Identifier: Apache-2.0
"""What units of the partitioner's tests do. Worker processes import this, so that it imports little."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

RELEASE = threading.Event()
"""Set to let the threads go that `hang`."""

HANG_SECONDS = 60.0  # no test waits for it: what hangs is given up or killed long before


class Boom(Exception):
    """What a failing unit raises."""


def add(*inputs: int) -> int:
    """One more than all inputs together."""
    return 1 + sum(inputs)


async def add_async(*inputs: int) -> int:
    """The same, after others had their turn."""
    await asyncio.sleep(0)
    return 1 + sum(inputs)


def busy(*inputs: int, seconds: float = 0.0003) -> int:
    """The same, and it keeps a processor busy for so long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return 1 + sum(inputs)


def boom(*inputs: int) -> int:
    """Fails."""
    raise Boom(f"after {inputs}")


def hang(*inputs: int) -> int:
    """Does not end by itself."""
    RELEASE.wait(HANG_SECONDS)
    return 0


async def hang_async(*inputs: int) -> int:
    """Does not end by itself, but can be cancelled."""
    await asyncio.Event().wait()
    return 0


def die(*inputs: int) -> int:
    """Kills the process it runs in."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def die_once(marker: str) -> int:
    """Kills its process when it is run for the first time; answers the process of the second."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return os.getpid()
    return die()


def pid() -> int:
    """The process that it runs in."""
    return os.getpid()


def hang_once(marker: str) -> int:
    """Hangs when it is run for the first time, having written its process down; answers the process of the second."""
    path = Path(marker)
    if path.exists():
        return os.getpid()
    path.write_text(str(os.getpid()))
    return hang()


def tell() -> int:
    """The same, written to standard output, too."""
    os.write(1, b"%d\n" % os.getpid())
    return os.getpid()


def part(place: int, count: int, *inputs: int) -> int:
    """One part of the sum of 0 to 99; the first also takes what `add` would answer."""
    return sum(range(place, 100, count)) + (1 + sum(inputs) if place == 0 else 0)


def parts(count: int) -> Sequence[Callable[..., int]]:
    """A unit as so many of these."""
    return [partial(part, place, count) for place in range(count)]


def whole(*inputs: int) -> int:
    """What the parts come to together."""
    return part(0, 1, *inputs)
