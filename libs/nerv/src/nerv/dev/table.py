# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a running mesh: one table, and lines with the name of who wrote them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from rich.table import Table
from rich.text import Text

from nerv.dev.logs import readable

COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_red", "bright_cyan", "bright_green")
NAME_WIDTH = 10


def mesh_table(context: Mapping[str, Any]) -> Table:
    """Service, URL, health and process id of everything that runs."""
    table = Table(title=f"mesh {context['mesh']}" + (f", app {context['app']}" if context["app"] else ""))
    table.add_column("service", no_wrap=True)
    table.add_column("URL", no_wrap=True)
    table.add_column("health", no_wrap=True)
    table.add_column("pid", no_wrap=True, justify="right")
    for name in ("kafka", "redis"):
        pid = context["pids"].get(name)
        table.add_row(name, context[name], "answers", "-" if pid is None else str(pid))
    for name, entry in context["services"].items():
        # The whole URL of the health port is in the context file; here it must leave room for the rest.
        table.add_row(name, entry["url"], f"ready :{urlsplit(entry['health']).port}", str(entry["pid"]))
    return table


def log_line(name: str, line: str) -> Text:
    """One line of a log, after the coloured name of its process. Nothing in it is taken for markup."""
    colour = COLOURS[sum(name.encode()) % len(COLOURS)]
    return Text.assemble((f"{name:<{NAME_WIDTH}}| ", colour), readable(line))
