# SPDX-License-Identifier: Apache-2.0
"""The app that is measured: tasks that do nothing, or keep the processor busy for a while. `NERV_APP=bench.scheduler.app:app`."""

import asyncio
import time

import nerv
from nerv.workflows import Drawing, Fan, Output

app = nerv.App("bench")


@app.task()
async def noop(number: int) -> int:
    """Nothing."""
    return number


@app.task()
async def after(number: int) -> int:
    """Nothing, after another one."""
    return number


@app.task()
async def count(numbers: list[int]) -> int:
    """How many came."""
    return len(numbers)


@app.task()
def spin(milliseconds: float) -> float:
    """Keep the processor busy."""
    until = time.thread_time() + milliseconds / 1000
    while time.thread_time() < until:
        pass
    return milliseconds


@app.task()
async def rest(milliseconds: float) -> float:
    """Wait, as a task does that asks somebody; when it began, in seconds since 1970."""
    await asyncio.sleep(milliseconds / 1000)
    return milliseconds


@app.workflow("wide")
def wide(w: Drawing, tasks: int) -> Fan:
    """No-op tasks side by side."""
    return w.map(noop, range(tasks))


@app.workflow("fan")
def fan(w: Drawing, tasks: int) -> Output:
    """No-op tasks side by side, and one that joins them."""
    return w.call(count, w.map(noop, range(tasks)))


@app.workflow("chain")
def chain(w: Drawing, tasks: int) -> Output:
    """No-op tasks one after the other."""
    last = w.call(noop, 0)
    for _ in range(tasks - 1):
        last = w.call(after, last)
    return last


@app.workflow("spins")
def spins(w: Drawing, milliseconds: list[float]) -> Fan:
    """Tasks that keep a processor busy."""
    return w.map(spin, milliseconds)


@app.workflow("rests")
def rests(w: Drawing, milliseconds: list[float]) -> Fan:
    """Tasks that wait."""
    return w.map(rest, milliseconds)


@app.workflow("sleeper")
def sleeper(w: Drawing) -> Output:
    """A run that waits for an hour before it does anything."""
    return w.call(noop, 1, after=w.sleep(3600))


@app.workflow("steps")
def steps(w: Drawing, milliseconds: float, steps: int) -> Output:
    """Tasks that wait, one after the other."""
    last = w.call(rest, milliseconds)
    for _ in range(steps - 1):
        last = w.call(rest, last)
    return last
