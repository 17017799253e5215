# SPDX-License-Identifier: Apache-2.0
"""Ours: `cold`, `warm` or `memory`, so many objects, so many changed. Prints objects a second, or objects a MiB."""

import asyncio
import gc
import importlib
import statistics
import sys
import time

from bench.sync.memory import peak_kib
from bench.sync.rows import ATTRIBUTES
from bench.sync.table import Table
from nerv.perspectives import DiffSchema
from nerv.sync.synchronizer import DiffSynchronizer

ROUNDS = 5
SCHEMA = DiffSchema("plane", ("tailnum",), ATTRIBUTES)


async def cold(count: int, changed: int) -> float:
    """Nothing is known of either side: seconds from the rows to the differences."""
    sync = DiffSynchronizer("planes", Table("left", count), Table("right", count, spread(count, changed, 1)), SCHEMA)
    began = time.perf_counter()
    plan = await sync.plan()
    seconds = time.perf_counter() - began
    assert len(plan.steps) == changed
    return seconds


async def warm(count: int, changed: int) -> float:
    """Both sides were compared before, and some objects have changed since: seconds to know the differences, feed included."""
    left, right = Table("left", count), Table("right", count)
    sync = DiffSynchronizer("planes", left, right, SCHEMA)
    await sync.plan()
    gc.freeze()  # a collection would go through what the set-up has left
    found = []
    for edition in range(1, ROUNDS + 1):
        left.edit(spread(count, changed, edition, edition), edition)
        left.read = right.read = 0
        began = time.perf_counter()
        plan = await sync.plan()
        found.append(time.perf_counter() - began)
        assert len(plan.steps) == changed
        assert left.read + right.read <= 4 * changed, "rows were read that have not changed"
        right.edit(spread(count, changed, edition, edition), edition)
        assert not (await sync.plan()).steps
    return statistics.median(found)


def spread(count: int, changed: int, edition: int, first: int = 0) -> dict[int, int]:
    """So many planes in another edition, all over the table."""
    step = count // changed - 1
    return dict.fromkeys(range(first, first + changed * step, step), edition)


def main() -> None:
    """Run, and print the figure."""
    what, count, changed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    importlib.import_module("nerv.sync.adapters")
    before = peak_kib()
    seconds = asyncio.run((warm if what == "warm" else cold)(count, changed))
    grown = max(1, peak_kib() - before) / 1024  # small sizes fit in what is there
    sys.stdout.write(f"{count / (grown if what == 'memory' else seconds)}\n")


if __name__ == "__main__":
    main()
