# SPDX-License-Identifier: Apache-2.0
"""A small app for tests of workflows: sums, tasks that fail, tasks that wait for a file. Run it by `NERV_APP=work:app`."""

import asyncio
import os
import time
from pathlib import Path

import nerv
from nerv.di import Inject
from nerv.workflows import Drawing, Fan, Output, PermanentError, Result

app = nerv.App("work")


@app.event("sum.made.v1", topic="work.sum.v1", key="name")
class SumMade(nerv.Event):
    """A sum was made."""

    name: str
    total: int


@app.task()
def double(number: int) -> int:
    """Twice the number; not async, so it runs in a thread."""
    return 2 * number


@app.task()
async def total(numbers: list[int]) -> int:
    """The sum."""
    return sum(numbers)


@app.task()
async def note(number: int, name: str, seconds: float) -> Result:
    """The number, noted in the stream `note-<name>`; takes a moment, so that a fault finds some at work."""
    await asyncio.sleep(seconds)
    return Result(number, [nerv.append(f"note-{name}", SumMade(name=name, total=number))])


@app.task(retries=5)
async def flaky(folder: str, failures: int) -> int:
    """Fails as often as it is told to, counting in a file."""
    if count(folder, "flaky") <= failures:
        raise RuntimeError("not yet")
    return failures


@app.task(retries=5)
async def hopeless(folder: str) -> None:
    """Says that it cannot work."""
    count(folder, "hopeless")
    raise PermanentError("never")


@app.task(timeout=0.3)
def endless(seconds: float) -> None:
    """Takes longer than it may."""
    time.sleep(seconds)


@app.task()
async def gate(name: str, folder: str) -> Result:
    """Waits until the file `open` is there; notes itself then."""
    count(folder, name)
    while not (Path(folder) / "open").exists():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.02)
    return Result(name, [nerv.append(f"note-{Path(folder).name}", SumMade(name=name, total=1))])


@app.task()
async def ask(client: nerv.Client, stream: str) -> int:
    """How many events a stream has, by the client that is handed in."""
    return len([event async for event in client.streams.read(stream)])


@app.task()
async def large() -> str:
    """More than history takes."""
    return "x" * 300_000


@app.workflow("doubled")
def doubled(w: Drawing, count: int = 3) -> Output:
    """Double each number and add them up."""
    return w.call(total, w.map(double, range(count)))


@app.workflow("noted")
def noted(w: Drawing, name: str, count: int, seconds: float = 0.0) -> Output:
    """Note each number once, and add them up."""
    return w.call(total, w.map(note, range(count), name, seconds))


@app.workflow("flaky")
def run_flaky(w: Drawing, folder: str, failures: int) -> Output:
    """One task that fails some times."""
    return w.call(flaky, folder, failures)


@app.workflow("hopeless")
def run_hopeless(w: Drawing, folder: str) -> Output:
    """Some good tasks, one that fails, and one that waits for it."""
    w.map(double, [1, 2])
    return w.call(total, [w.call(hopeless, folder)])


@app.workflow("endless")
def run_endless(w: Drawing) -> Output:
    """A task that takes too long."""
    return w.call(endless, 2.0)


@app.workflow("gated")
def gated(w: Drawing, folder: str, count: int) -> Fan:
    """Tasks that wait for a file."""
    return w.map(gate, [f"task{i}" for i in range(count)], folder)


@app.task()
async def announce(name: str, number: int) -> Result:
    """A number, published."""
    return Result(number, [nerv.publish(SumMade(name=name, total=number))])


@app.workflow("announced")
def announced(w: Drawing, name: str) -> Output:
    """A task whose result is published."""
    return w.call(announce, name, 7)


@app.workflow("asked")
def asked(w: Drawing, stream: str) -> Output:
    """A task that uses the client."""
    return w.call(ask, stream)


@app.container.singleton
class Rates:
    """Something that tasks need, open while the worker works."""

    factor = 0

    async def __aenter__(self) -> "Rates":
        self.factor = 3
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.factor = 0


@app.task()
@app.container.inject
def rated(number: int, rates: Rates = Inject(Rates)) -> int:
    """A task that uses a component of the app."""
    return number * rates.factor


@app.task()
def bulky(size: int) -> str:
    """A result that is large."""
    return "x" * size


@app.workflow("bulky")
def bulky_run(w: Drawing, size: int) -> Output:
    """It is the run's, too."""
    return w.call(bulky, size)


@app.workflow("exchanged")
def exchanged(w: Drawing, number: int) -> Output:
    """A task with a component."""
    return w.call(rated, number)


@app.workflow("large")
def run_large(w: Drawing) -> Output:
    """A result that is too large."""
    return w.call(large)


def count(folder: str, name: str) -> int:
    """Count a call in a file; every process appends one line."""
    path = Path(folder) / f"{name}.calls"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    return len(path.read_text(encoding="utf-8").splitlines())
