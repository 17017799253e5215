# SPDX-License-Identifier: Apache-2.0
"""A small app in which much can go wrong, for the alert rules. Run it by `NERV_APP=faulty:app`.

FAULTY_FOLDER is where it waits for files.
"""

import asyncio
import os
from pathlib import Path

import nerv
import nerv.sync
from nerv.effects import Append
from nerv.workflows import Drawing, Fan, Output, PermanentError

FOLDER = Path(os.environ.get("FAULTY_FOLDER", "."))
REFUSED, UNFOLDABLE = -1, 13  # numbers that the reaction and the projection do not take

app = nerv.App("faulty")


@app.event("thing.noted.v1", topic="faulty.thing.v1", key="thing")
class Noted(nerv.Event):
    """Something about a thing."""

    thing: str
    number: int


@app.on("thing.noted.v1")
def record(event: Noted) -> Append:
    """Into the thing's stream."""
    if event.number == REFUSED:
        raise ValueError("no number")
    return nerv.append(f"thing-{event.thing}", event)


@app.projection("things", on=["thing.noted.v1"], category="thing")
def things(state: int | None, event: Noted) -> int:
    """The last number of each."""
    if event.number == UNFOLDABLE:
        raise ValueError("that number brings no luck")
    return event.number


@app.task()
async def wait_for_file(number: int) -> int:
    """The number, once the file `open` is there."""
    while not (FOLDER / "open").exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.1)
    return number


@app.task()
async def fail() -> None:
    """Never works."""
    raise PermanentError("never")


@app.workflow("waiting")
def waiting(w: Drawing, count: int) -> Fan:
    """Tasks that wait."""
    return w.map(wait_for_file, range(count))


@app.workflow("failing")
def failing(w: Drawing) -> Output:
    """A task that fails."""
    return w.call(fail)


@app.source("items")
class Items(nerv.sync.CsvSource):
    """A file that may not be there."""

    path = "items.csv"
    folder = FOLDER
    category = "item"
    key = "id"
