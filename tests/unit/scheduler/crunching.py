# SPDX-License-Identifier: Apache-2.0
"""Tasks that run in processes: they stand at the top of a module."""

import os
import signal
import time

import nerv
from nerv.workflows import Drawing, Output

app = nerv.App("crunching")


@app.task(pool="processes", retries=1)
def crunch(number: int) -> list[int]:
    """Where it runs, and a number."""
    return [os.getpid(), number * number]


@app.task(pool="processes")
def greedy(size: int) -> int:
    """Takes memory."""
    return len(bytearray(size))


@app.task(pool="processes", timeout=0.5)
def endless() -> None:
    """Takes longer than it may."""
    time.sleep(60)


@app.task(pool="processes")
def deadly() -> None:
    """Kills its process."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.workflow("crunched")
def crunched(w: Drawing) -> Output:
    """A task in a process."""
    return w.call(crunch, 7)
