# SPDX-License-Identifier: Apache-2.0
"""Calls that do not fit their task are refused before the run is recorded, and named."""

from collections.abc import Callable
from typing import Any

import pytest

import nerv
from nerv.client import Client
from nerv.di import Inject
from nerv.errors import Invalid
from nerv.workflows import Drawing, draw
from nerv_scheduler.fitting import check_calls
from nerv_scheduler.invoke import callees
from tests.unit.scheduler.scheduler_in_memory import World

app = nerv.App("fitted")


class Opaque:
    """A class that pydantic does not know."""


@app.container.singleton
class Rates:
    """A component."""


@app.task()
def load(month: int, scale: float = 1.0) -> float:
    """Annotated."""
    return month * scale


@app.task()
async def ask(client: Client, name: str, *rest: int) -> None:
    """The client is handed in."""


@app.task()
@app.container.inject
def rated(number: int, rates: Rates = Inject(Rates)) -> int:
    """A component is handed in."""
    return number


@app.task()
def free(a: Any, b: Opaque, c=None) -> None:  # type: ignore[no-untyped-def]
    """Says nothing of its parameters that can be checked."""


def check(function: Callable[[Drawing], Any]) -> None:
    """Draw a workflow and hold its calls against the tasks."""
    check_calls(draw(nerv.app.WorkflowSpec("w", function), app.tasks, {}), callees(app))


@pytest.mark.parametrize(
    ("workflow", "says"),
    [
        (lambda w: w.call(load), r"step load cannot call load\(month: int.*missing a required argument: 'month'"),
        (lambda w: w.call(load, 1, 2.0, 3), "step load cannot call .* too many positional arguments"),
        (lambda w: w.map(load, [1], 2.0, 3), "too many positional arguments"),
        (lambda w: [w.call(load, 1), w.call(load, "x")], "load#2: argument month of task load: .*valid integer"),
        (lambda w: w.map(load, [1, 2, None]), r"load\[2\]: argument month of task load: .*valid integer"),
        (lambda w: w.call(load, w.call(load, 1), "x"), "load#2: argument scale of task load: .*valid number"),
        (lambda w: w.call(ask), "missing a required argument: 'name'"),
        (lambda w: w.call(ask, "x", 1, "y"), "ask: argument rest of task ask: .*valid integer"),
        (lambda w: w.call(rated, "x"), "rated: argument number of task rated"),
    ],
)
def test_calls_that_do_not_fit_are_refused(workflow: Callable[[Drawing], Any], says: str) -> None:
    """With the node, the parameter and what is wrong with it."""
    with pytest.raises(Invalid, match=says):
        check(workflow)


@pytest.mark.parametrize(
    "workflow",
    [
        lambda w: w.call(load, 1),
        lambda w: w.call(load, 1, 2),
        lambda w: w.map(load, [1, 2], 3.5),
        lambda w: w.map(load, w.map(load, [1])),
        lambda w: w.map(load, []),
        lambda w: w.call(ask, "x", 1, 2),
        lambda w: w.call(rated, 1),
        lambda w: w.call(free, {"a": 1}, "anything", None),
    ],
)
def test_calls_that_fit_are_taken(workflow: Callable[[Drawing], Any]) -> None:
    """Defaults, components, the client and outputs that are not known yet."""
    check(workflow)


async def test_a_refused_start_leaves_nothing() -> None:
    """Nothing is recorded and nothing is put into the queue."""

    @app.workflow("wrong")
    def wrong(w: Drawing) -> None:
        w.call(load, "x")

    world = World(app)
    with pytest.raises(Invalid, match="argument month"):
        await world.starter.start("wrong", {}, "r1")
    assert await world.queue.show("r1") is None
    with pytest.raises(nerv.errors.NotFound):
        await world.stream("run-r1")
