# SPDX-License-Identifier: Apache-2.0
"""A run for people: its tasks, and a progress bar for each of its maps."""

from typing import Any

from rich.console import Console

from nerv.cli.show import table
from nerv.cli.work import brief, progress_bar, run_tree


def drawn(run: dict[str, Any]) -> str:
    """As it is printed."""
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(run_tree(run))
    return captured.get()


def node(name: str, status: str, **more: Any) -> dict[str, Any]:
    """A node as the API gives it."""
    return {"node": name, "status": status, "attempt": 1, "error": None, **more}


def test_a_map_is_one_line_however_many_items_it_has() -> None:
    """But for items that failed, which say why; other tasks have a line each."""
    items = [node(f"load[{i}]", "completed") for i in range(600)] + [
        node(f"load[{i}]", "ready") for i in range(600, 999)
    ]
    nodes = [
        node("list", "completed"),
        *items,
        node("load[999]", "failed", error="no such month"),
        node("join", "waiting"),
    ]
    progress = {"step": "load", "items": 1000, "done": 600, "failed": 1, "running": 0}
    run = {"workflow": "w", "run": "r1", "status": "running", "nodes": nodes, "maps": [progress], "result": None}
    lines = drawn(run).splitlines()
    assert len(lines) == 5
    assert "load: " in lines[2]
    assert "600 of 1000, 1 failed" in lines[2]
    assert "no such month" in lines[3]


def test_a_bar_is_as_long_as_it_is_wide() -> None:
    """Whatever the figures."""
    for done, running, failed, items in ((0, 0, 0, 0), (0, 0, 0, 7), (7, 0, 0, 7), (1, 2, 3, 7), (333, 333, 334, 1000)):
        progress = {"step": "s", "items": items, "done": done, "running": running, "failed": failed}
        bar = Console(width=120).render_str(progress_bar(progress)).plain.split(" ")[1]
        assert len(bar) == 30


def test_a_listed_run_is_one_line_of_80_columns() -> None:
    """With its whole id, which people copy, its whole status, and no error where there was none."""
    run = {
        "run": "01a21a4b-c162-70df-bdce-0c54b84749f3", "workflow": "inventory", "status": "completed", "error": None,
        "started": "2026-11-26T23:58:22.053000Z", "ended": "2026-11-26T23:58:22.300000Z", "elapsed_seconds": 0.25,
    }  # fmt: skip
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        console.print(table("runs", [brief(run)]))
    [line] = [line for line in captured.get().splitlines() if line.startswith("│")]
    assert [part.strip() for part in line.strip("│").split("│")] == [
        run["run"],
        "completed",
        "2026-11-26 23:58",
        "0.25",
    ]
