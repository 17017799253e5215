# SPDX-License-Identifier: Apache-2.0
"""A run as a Gantt chart: a line a node, where it waited for a worker and where it ran. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from nerv.types import parse_instant

COLORS = {"completed": "green", "failed": "red", "running": "yellow", "retrying": "yellow", "cancelled": "magenta"}
NAME_CELLS = 24  # of a name before it is folded
WAITED, RAN = "\u00b7", "\u2588"


def gantt(run: Mapping[str, Any], now: datetime, *, width: int = 40, most: int = 40) -> Table:
    """The chart of a run as the API gives it, `width` cells wide; of more than `most` nodes those that tell the most."""
    begun, critical = parse_instant(run["started"]), set(run["critical_path"])
    whole = max(run["elapsed_seconds"], 0.001)
    nodes = shown(run["nodes"], critical, most)
    title = f"{run['workflow']} {run['run']}: {run['status']}, {run['elapsed_seconds']:.2f} s"
    if len(nodes) < len(run["nodes"]):
        title += f"; {len(nodes)} of {len(run['nodes']):,} tasks"
    made = Table(title=escape(title), title_justify="left", caption="bold: the critical path", caption_justify="left")
    longest = max((len(node["node"]) for node in nodes), default=0)
    made.add_column("task", overflow="fold", min_width=min(longest, NAME_CELLS))
    made.add_column("", width=width, no_wrap=True)
    for column in ("queued s", "ran s"):
        made.add_column(column, justify="right")
    for node in nodes:
        name = escape(node["node"])
        made.add_row(
            f"[bold]{name}[/bold]" if node["node"] in critical else name,
            bar(node, begun, now, whole, width),
            *("-" if node[key] is None else f"{node[key]:.3f}" for key in ("queued_seconds", "ran_seconds")),
        )
    return made


def shown(nodes: Sequence[Mapping[str, Any]], critical: set[str], most: int) -> list[Mapping[str, Any]]:
    """At most so many nodes, in order: the critical path, what failed or runs, then those that ran the longest."""
    busy = ("failed", "running", "retrying")
    ranked = sorted(nodes, key=lambda n: (n["node"] not in critical, n["status"] not in busy, -(n["ran_seconds"] or 0)))
    kept = {node["node"] for node in ranked[:most]}
    return [node for node in nodes if node["node"] in kept]


def bar(node: Mapping[str, Any], begun: datetime, now: datetime, whole: float, width: int) -> str:
    """A node's line: nothing before it was ready, dots while it waited, blocks while it ran."""
    if node["started"] is None:
        return f"[dim]{escape(node['status'])}[/dim]"
    end = parse_instant(node["ended"]) if node["ended"] else now
    first, last = (_cell((at - begun).total_seconds(), whole, width) for at in (parse_instant(node["started"]), end))
    waited = round((node["queued_seconds"] or 0) / whole * width)
    color = COLORS.get(node["status"], "white")
    dots = min(waited, first)
    return f"{' ' * (first - dots)}[dim]{WAITED * dots}[/dim][{color}]{RAN * max(1, last - first)}[/{color}]"


def _cell(seconds: float, whole: float, width: int) -> int:
    return max(0, min(width - 1, round(seconds / whole * width)))
