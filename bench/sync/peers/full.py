# SPDX-License-Identifier: Apache-2.0
"""The peer: diffsync's own diff, as its users write it, its logger silenced. `cold` loads and compares, `warm` compares what
is loaded, `memory` as cold. So many objects, so many changed. Prints objects a second, or objects a MiB.
"""

import sys
import time
from typing import ClassVar

import structlog
from diffsync import Adapter, DiffSyncModel

from bench.sync.memory import peak_kib
from bench.sync.rows import ATTRIBUTES, rows

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))


class Plane(DiffSyncModel):
    """A plane."""

    _modelname = "plane"
    _identifiers = ("tailnum",)
    _attributes = ATTRIBUTES

    tailnum: str
    year: int
    type: str
    manufacturer: str
    model: str
    engines: int
    seats: int
    speed: int | None
    engine: str


class Planes(Adapter):
    """A side."""

    plane = Plane
    top_level: ClassVar[list[str]] = ["plane"]


def main() -> None:
    """Run, and print the figure."""
    what, count, changed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    before = peak_kib()
    left, right = Planes("left"), Planes("right")
    began = time.perf_counter()
    for side, given in ((left, rows(count)), (right, rows(count, count // changed, 1))):
        for row in given:
            side.add(Plane(**row))
    if what == "warm":
        began = time.perf_counter()
    diff = right.diff_from(left)
    found = sum(1 for element in diff.get_children() if element.action)
    seconds = time.perf_counter() - began
    assert abs(found - changed) <= 1 + count % changed
    grown = max(1, peak_kib() - before) / 1024  # small sizes fit in what is there
    sys.stdout.write(f"{count / (grown if what == 'memory' else seconds)}\n")


if __name__ == "__main__":
    main()
