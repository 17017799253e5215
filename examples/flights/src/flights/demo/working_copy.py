# SPDX-License-Identifier: Apache-2.0
"""A copy of the registers that the demo may change, so that there is something to sync."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flights.data import AIRLINES, AIRPORTS, PLANES

Rows = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Edited:
    """How many rows of a source were made, changed and removed."""

    source: str
    create: int = 0
    update: int = 0
    delete: int = 0


def copy_registers(data: Path, folder: Path) -> None:
    """A fresh copy of planes, airlines and airports; what was there before is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (PLANES, AIRLINES, AIRPORTS):
        shutil.copyfile(data / name, folder / name)


def edit_registers(folder: Path) -> list[Edited]:
    """Change a few rows, as the offices that keep the registers would; returns what the next sync has to find."""
    _rewrite(folder / PLANES, _edit_planes)
    _rewrite(folder / AIRLINES, _edit_airlines)
    return [Edited("planes", create=1, update=2, delete=1), Edited("airlines", update=1), Edited("airports")]


def _edit_planes(rows: Rows) -> None:
    by_tail = {row["tailnum"]: row for row in rows}
    by_tail["N14228"]["seats"] = "150"  # a row of seats taken out
    by_tail["N24211"]["engine"] = "Turbo-jet"
    rows.remove(by_tail["N10156"])  # scrapped
    rows.append(by_tail["N619AA"] | {"tailnum": "N1NERV", "year": "2013"})  # bought


def _edit_airlines(rows: Rows) -> None:
    next(row for row in rows if row["carrier"] == "US")["name"] = "US Airways"


def _rewrite(path: Path, edit: Callable[[Rows], None]) -> None:
    with path.open(encoding="utf-8", newline="") as text:
        reader = csv.DictReader(text)
        names, rows = list(reader.fieldnames or ()), list(reader)
    edit(rows)
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draft.replace(path)
