# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a running mesh: one table, and lines with the name of who wrote them."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from nerv.dev.logs import readable

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_red", "bright_cyan", "bright_green")
NAME_WIDTH = 10


def mesh_table(context: Mapping[str, Any]) -> Table:
    """Service, URL, health and process id of everything that runs."""
    table = Table(title=f"mesh {context['mesh']}" + (f", app {context['app']}" if context["app"] else ""))
    for column in ("service", "URL", "health", "pid"):
        table.add_column(column, no_wrap=True, justify="right" if column == "pid" else "left")
    for name in ("kafka", "redis"):
        pid = context["pids"].get(name)
        table.add_row(name, context[name], "answers", "not ours" if pid is None else str(pid))
    for name, entry in context["services"].items():
        table.add_row(name, entry["url"], f"{entry['health']}/readyz", str(entry["pid"]))
    return table


def log_line(name: str, line: str) -> Text:
    """One line of a log, after the coloured name of its process. Nothing in it is taken for markup."""
    colour = COLOURS[sum(name.encode()) % len(COLOURS)]
    return Text.assemble((f"{name:<{NAME_WIDTH}}| ", colour), readable(line))
