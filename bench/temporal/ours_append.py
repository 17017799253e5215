# SPDX-License-Identifier: Apache-2.0
"""Ours: `BOOTSTRAP rate|fsync|batch|latency COUNT IN_FLIGHT [PARTITIONS]`: appends of one event (or of 100).

With the exact version, in process. Prints events a second; with `fsync` Kafka synchronises each record to the disk. `latency`
prints the median and the 99th percentile in milliseconds of one append at a time.
"""

import asyncio
import statistics
import sys
import time

import uvloop

from bench.temporal.app import counted
from bench.temporal.hosting import PARTITIONS, hosted
from nerv.protocols import Appended, AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv_temporal.router import Router

BATCH = 100


class Writers:
    """Writers that share a count; each has a stream of its own and appends to it at its exact version."""

    def __init__(self, router: Router, count: int, size: int = 1) -> None:
        self._router = router
        self._left = iter(range(count))
        self._size = size
        self.seconds: list[float] = []

    async def write(self, stream: str) -> None:
        """Append until the count is done."""
        version = 0
        for number in self._left:
            events = [counted(number, f"{stream}/{version + n}") for n in range(self._size)]
            began = time.perf_counter()
            [outcome] = await self._router.append([AppendRequest(stream, events, Expected(Expect.EXACT, version))], {})
            self.seconds.append(time.perf_counter() - began)
            assert isinstance(outcome, Appended), outcome
            version = outcome.last_version


async def measure(bootstrap: str, what: str, count: int, in_flight: int, partitions: int = PARTITIONS) -> str:
    """The figures, as they are printed."""
    async with hosted(bootstrap, fsync=what == "fsync", partitions=partitions) as wiring:
        size = BATCH if what == "batch" else 1
        warm = Writers(wiring.router(), max(500, 4 * in_flight), size)
        await asyncio.gather(*(warm.write(f"warm-{n}") for n in range(in_flight)))
        writers = Writers(wiring.router(), count, size)
        began = time.perf_counter()
        await asyncio.gather(*(writers.write(f"counter-{n}") for n in range(in_flight)))
        seconds = time.perf_counter() - began
    if what == "latency":
        cuts = statistics.quantiles(writers.seconds, n=100)
        return f"{1000 * cuts[49]} {1000 * cuts[98]}"
    return f"{count * size / seconds}"


if __name__ == "__main__":
    server, what, *numbers = sys.argv[1:]
    sys.stdout.write(uvloop.run(measure(server, what, *map(int, numbers))) + "\n")
