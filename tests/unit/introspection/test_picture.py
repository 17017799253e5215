# SPDX-License-Identifier: Apache-2.0
"""An app's whole picture, without starting it."""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import nerv
from nerv.app import App, find_app
from nerv.app.picture import picture
from nerv.app.sampling import drawn, sample, words_of
from nerv.cli.describe import picture_tree
from nerv.workflows import Drawing

SOURCE = '''
import nerv
from nerv.bus import EventBus
from nerv.effects import Handlers

app = nerv.App("pictured")
bus = EventBus("gates")
handlers = Handlers("outside")


class Table:
    def describe(self, percentiles):
        raise AssertionError("of another kind")


table = Table()


@app.event("gate.opened.v1", topic="gates.v1", key="gate")
class Opened(nerv.Event):
    """A gate is open."""

    gate: str
    by: str | None = None


@app.event("gate.closed.v1")
class Closed(nerv.Event):
    gate: str


@app.on("gate.opened.v1")
def record(event):
    """Into its stream."""
    return nerv.append(f"gate-{event.gate}", event)


@app.projection("gate", on=["gate.opened.v1"])
def gate(state, event):
    """Whether it is open."""
    return {"open": True}


@app.perspective("gate", "visitor")
class Visitor(nerv.Perspective):
    """Whether to go there."""

    open: bool


@app.decider("gate")
def close(state, command):
    """It can be closed."""
    return Closed(gate="1")


@app.task(retries=2, timeout=5.0)
async def count(gate: str) -> int:
    """How often."""
    return 1


@app.task()
def add(counts: list[int]) -> int:
    return sum(counts)


@app.workflow("totals")
def totals(w, gates: list[str]):
    """Over all gates."""
    return w.call(add, w.map(count, gates))
'''


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """An app in a module of its own."""
    (tmp_path / "pictured_app.py").write_text(textwrap.dedent(SOURCE), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pictured_app", raising=False)
    yield find_app("pictured_app:app")
    sys.modules.pop("pictured_app", None)


def by_name(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows of a kind under their names."""
    return {row["name"]: row for row in rows}


def test_every_kind_is_there_with_what_it_hangs_on(app: App) -> None:
    """Events know who hears them, projections what they fold and who looks at them, and all of it is JSON."""
    told = picture(app)
    events = by_name(told["events"])
    assert events["gate.opened.v1"]["fields"] == {"gate": "str", "by": "str | None"}
    assert (events["gate.opened.v1"]["topic"], events["gate.opened.v1"]["key"]) == ("gates.v1", "gate")
    assert events["gate.opened.v1"]["reactions"] == ["record"]
    assert events["gate.opened.v1"]["projections"] == ["gate"]
    assert events["gate.closed.v1"]["reactions"] == events["gate.closed.v1"]["projections"] == []
    assert by_name(told["reactions"])["record"]["on"] == "gate.opened.v1"
    assert by_name(told["deciders"])["gate"]["streams"] == "gate-*"
    [projection] = told["projections"]
    assert projection["folds"] == ["gate.opened.v1"]
    seen = {"name": "visitor", "fields": ["open"], "scope": None, "scopes": [], "doc": "Whether to go there."}
    assert projection["perspectives"] == [seen]
    assert by_name(told["tasks"])["count"]["parameters"] == {"gate": "str"}
    assert by_name(told["topics"]).keys() == {"gates.v1"}
    assert json.dumps(json.loads(json.dumps(told))) == json.dumps(told)


def test_a_workflow_is_drawn_as_a_graph(app: App) -> None:
    """For a made-up input: a map over a list is seen to be one, and what waits for what."""
    [workflow] = picture(app)["workflows"]
    assert workflow["input"] == {"gates": ["…", "…"]}
    assert workflow["steps"] == [
        {"name": "count", "task": "count", "each": 2, "after": []},
        {"name": "add", "task": "add", "each": None, "after": ["count"]},
    ]


def test_components_of_the_apps_modules_describe_themselves(app: App) -> None:
    """A bus and handlers, and nothing that is only a class."""
    assert [(one["kind"], one["name"]) for one in picture(app)["components"]] == [
        ("EventBus", "gates"),
        ("Handlers", "outside"),
    ]


def test_the_tree_fits_a_terminal_of_80_columns(app: App) -> None:
    """No line is longer, and every name is in it."""
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(picture_tree(picture(app)))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    for part in (
        "app pictured",
        "gate.opened.v1 (gate, by)",
        "A gate is open.",
        "→ reactions record; projections gate",
        "nobody listens",
        "perspective visitor open",
        "2 retries, 5 s an attempt",
        "count, 2 times",
        "add after count",
        "EventBus, ok",
    ):
        assert part in text


def test_an_app_without_anything_says_so() -> None:
    """Rather than a bare name."""
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(picture_tree(picture(nerv.App("bare"))))
    assert "declares nothing yet" in capture.get()


def test_a_workflow_whose_shape_depends_on_its_input_says_why() -> None:
    """It has no steps, and its error is told instead of raised."""
    app = nerv.App("shapes")

    @app.workflow("picky")
    def picky(w: Drawing) -> None:
        raise KeyError(w.input["year"])

    told = drawn(app.workflows["picky"], app.tasks)
    assert told["steps"] == []
    assert "year" in told["error"]


@pytest.mark.parametrize(
    ("annotation", "made", "words"),
    [
        (str, "…", "str"),
        (int | None, None, "int | None"),
        (list[str], ["…", "…"], "list[str]"),
        (tuple[int, ...], [1, 1], "tuple[int]"),
        (dict[str, int], {}, "dict[str, int]"),
        (Any, "…", "Any"),
        (list[list[int]], [[1, 1], [1, 1]], "list[list[int]]"),
    ],
)
def test_values_are_made_up_by_type(annotation: Any, made: Any, words: str) -> None:
    """JSON values, and types in the words that people write."""
    assert sample(annotation) == made
    assert words_of(annotation) == words


def test_a_picture_tells_what_workflows_wait_for_and_when_they_are_started() -> None:
    """The events that a workflow awaits, its versions and deadline; and the schedules that start it."""
    app = App("waiting")

    @app.event("paid.v1", topic="waiting.paid.v1")
    class Paid(nerv.Event):
        order: str

    for version in (1, 2):
        app.workflow("order", version=version, awaits={"paid.v1": "order"}, deadline=60.0)(
            lambda w: w.event("paid.v1", 1)
        )
    app.schedule("daily", "order", cron="0 3 * * *", zone="Europe/Berlin")
    found = picture(app)
    [workflow] = found["workflows"]
    assert (workflow["awaits"], workflow["versions"], workflow["deadline_seconds"]) == (
        {"paid.v1": "order"},
        [1, 2],
        60.0,
    )
    assert [step["task"] for step in workflow["steps"]] == [":event"]
    assert found["schedules"] == [
        {"name": "daily", "workflow": "order", "ticks": "0 3 * * * Europe/Berlin", "overlap": "skip", "catch_up": 1}
    ]
