# SPDX-License-Identifier: Apache-2.0
"""The source port: what an outside system holds of one category, read whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from nerv.types import Description


@dataclass(frozen=True, slots=True)
class Row:
    """One entity of a source. `content` is its whole row as canonical JSON; `place` tells people where it stands."""

    key: str
    content: bytes
    place: str


@dataclass(frozen=True, slots=True)
class Complete:
    """The last thing a source yields: it was read to its end, gave `rows` rows, and is as it was at `instant` (UTC)."""

    rows: int
    instant: datetime


class Source(Protocol):
    """Entities of one category, each under the key that makes its stream `<category>-<key>`.

    Implemented by `nerv.sync.CsvSource` and by any `nerv.sync.RowsSource` of an app.
    """

    @property
    def category(self) -> str:
        """The category of the streams; it has no dash."""
        ...

    @property
    def key(self) -> str:
        """The column whose value is the key."""
        ...

    def describe(self) -> Description:
        """What it reads (inputs) and which streams it speaks for (outputs), without secrets. Nothing is loaded."""
        ...

    def load(self) -> Iterator[Row | Complete]:
        """Every row, one at a time, and at the end `Complete`. It may block, and runs in a thread.

        Whatever keeps it from reading everything raises LoadRefused; a load that ends without `Complete` was partial.
        """
        ...
