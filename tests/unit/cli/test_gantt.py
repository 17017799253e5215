# SPDX-License-Identifier: Apache-2.0
"""A run as a Gantt chart."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from nerv.cli.gantt import RAN, WAITED, bar, gantt, shown

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
NOW = datetime(2013, 1, 15, 12, 0, 10, tzinfo=UTC)


def node(
    name: str, start: int | None, end: int | None, status: str = "completed", queued: float = 0.0
) -> dict[str, Any]:
    """A node that began and ended so many seconds after noon."""
    ran = None if start is None or end is None else float(end - start)
    started, ended = (None if at is None else f"2013-01-15T12:00:{at:02}Z" for at in (start, end))
    known = {"queued_seconds": None if start is None else queued, "ran_seconds": ran}
    return {"node": name, "status": status, "started": started, "ended": ended} | known


def drawn(one: dict[str, Any]) -> str:
    """Its bar in ten cells of a second each, without colors."""
    console = Console(width=40)
    with console.capture() as captured:
        console.print(bar(one, NOON, NOW, 10.0, 10))
    return captured.get().rstrip("\n")


def test_a_bar_stands_where_the_node_ran() -> None:
    """Dots while it waited, blocks while it ran; one that runs reaches to now, one that has not begun says so."""
    assert drawn(node("a", 2, 5)) == "  " + RAN * 3
    assert drawn(node("a", 4, 5, queued=2.0)) == "  " + WAITED * 2 + RAN
    assert drawn(node("a", 7, None, "running")) == " " * 7 + RAN * 2
    assert drawn(node("a", 3, 3)) == "   " + RAN
    assert drawn(node("a", None, None, "waiting")) == "waiting"


def test_the_nodes_that_tell_the_most_are_shown() -> None:
    """The critical path and what failed come before those that ran longer; the order stays."""
    nodes = [node("long", 0, 9), node("path", 0, 1), node("broken", 0, 2, "failed"), node("short", 0, 1)]
    assert [one["node"] for one in shown(nodes, {"path"}, 3)] == ["long", "path", "broken"]
    assert [one["node"] for one in shown(nodes, {"path"}, 1)] == ["path"]


def test_the_chart_says_how_much_it_leaves_out() -> None:
    """And names the run, its state and how long it took."""
    run = {
        "run": "r1",
        "workflow": "w",
        "status": "running",
        "started": "2013-01-15T12:00:00Z",
        "elapsed_seconds": 10.0,
    }
    console = Console(width=120)
    with console.capture() as captured:
        console.print(gantt(run | {"critical_path": [], "nodes": [node("a", 0, 1)] * 3}, NOW, most=1))
        console.print(gantt(run | {"critical_path": ["b"], "nodes": [node("a", 0, 1), node("b", 1, 2)]}, NOW, most=1))
    assert "w r1: running, 10.00 s; 1 of 2 tasks" in captured.get()
