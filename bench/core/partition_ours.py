# SPDX-License-Identifier: Apache-2.0
"""Ours: `noop COUNT RUNS` on threads, or `skewed PAIRS stealing|dealt` on two processes. Prints units a second."""

import sys
import time

from bench.core.partition_graph import graph, heavy, light, noop
from nerv.partition import QuantumPartitioner, Unit


def small(count: int, runs: int) -> float:
    """Units that do nothing, in a random graph, after a run that does not count."""
    units = [Unit(name, noop, needs) for name, needs in graph(count).items()]
    partitioner = QuantumPartitioner()
    partitioner.run_sync(units).check()
    began = time.perf_counter()
    for _ in range(runs):
        partitioner.run_sync(units).check()
    return runs * count / (time.perf_counter() - began)


def skewed(pairs: int, stealing: bool) -> float:
    """A large and a small unit in turn, dealt out in turn: one worker has all the large ones in its queue.

    The processes are started, and the kinds measured, by a run that does not count.
    """
    units = [unit for n in range(pairs) for unit in (Unit(f"heavy{n}", heavy), Unit(f"light{n}", light))]
    with QuantumPartitioner("processes", workers=(2, 2), stealing=stealing) as partitioner:
        partitioner.run_sync(units).check()
        began = time.perf_counter()
        partitioner.run_sync(units).check()
        return len(units) / (time.perf_counter() - began)


if __name__ == "__main__":
    what, first, second = sys.argv[1:]
    figure = small(int(first), int(second)) if what == "noop" else skewed(int(first), second == "stealing")
    sys.stdout.write(f"{figure}\n")
