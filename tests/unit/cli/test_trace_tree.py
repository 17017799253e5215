# SPDX-License-Identifier: Apache-2.0
"""Traces in 80 columns: ids that can be copied, and names that keep their place in the tree."""

from typing import Any

from rich.console import Console

from nerv.cli.trace_tree import listed, tree

TRACE = "08652a43284620f1a868446e1158e9fb"


def drawn(what: Any) -> list[str]:
    """The lines of what is printed."""
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        console.print(what)
    return [line.rstrip() for line in captured.get().splitlines()]


def span(name: str, number: int, parent: int | None, **attributes: Any) -> dict[str, Any]:
    """A span as the API gives it."""
    return {
        "trace": TRACE, "span": str(number), "parent": None if parent is None else str(parent), "name": name,
        "service": "projector", "begun": f"2026-11-27T00:57:40.{number:06}Z", "microseconds": 1500,
        "error": None, "attributes": attributes,
    }  # fmt: skip


def test_the_id_of_a_listed_trace_is_whole() -> None:
    """However long the name is that it began with."""
    row = {
        "trace": TRACE, "begun": "2026-11-27T00:57:40Z", "milliseconds": 153.3, "spans": 14, "errors": 0,
        "name": "POST /v1/topics/{topic}/events of a topic with a long name",
    }  # fmt: skip
    lines = drawn(listed([row]))
    line = lines[1]
    assert line.split()[:4] == [TRACE, "00:57:40", "153.3", "ms"]
    assert all(len(line) <= 80 for line in lines)


def test_names_stand_on_one_line_and_what_was_touched_is_folded() -> None:
    """A span three levels below, of which much is to be told."""
    touched = {"nerv.streams": [], "nerv.projection": "stock", "nerv.http.status": 200}
    spans = [
        span("POST /v1/topics/{topic}/events", 1, None),
        span("process shop.stock.v1", 2, 1),
        span("process nerv.history.v1", 3, 2, **touched),
    ]
    lines = drawn(tree(spans, 80))
    assert [line[:30].rstrip() for line in lines[2:5]] == [
        "POST /v1/topics/{topic}/events",
        "└─ process shop.stock.v1",
        "   └─ process nerv.history.v1",
    ]
    assert all(len(line) <= 80 for line in lines)
