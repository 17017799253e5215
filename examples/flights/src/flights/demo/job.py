# SPDX-License-Identifier: Apache-2.0
"""What every step of the demo works with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

import nerv
from flights.data import FLIGHTS
from flights.demo.hops import Hop
from flights.reference import Reference


@dataclass(slots=True)
class Job:
    """The mesh by its client, the days to load, what was counted from the file, and what was found wrong.

    `data` holds the original files, `copy` the registers that the demo changes. No `problems` at the end means passed.
    """

    client: nerv.Client
    screen: Console
    data: Path
    copy: Path
    months: Collection[int]
    days: Collection[int]
    reference: Reference = field(default_factory=Reference)
    problems: list[str] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        """The file with the flights."""
        return self.data / FLIGHTS

    def expect(self, what: str, got: object, expected: object) -> None:
        """Note a problem when something is not what it should be."""
        if got != expected:
            self.problems.append(f"{what}: {got!r} is not {expected!r}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: int = 0) -> None:
        """Print a table; the last `numbers` columns are numbers."""
        table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
        for place, column in enumerate(columns):
            table.add_column(column, justify="right" if place >= len(columns) - numbers else "left")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self.screen.print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
