# SPDX-License-Identifier: Apache-2.0
"""Ours: `noop COUNT RUNS` on threads, or `stealing|dealt PAIRS RUNS` on two processes. Prints units a second."""

import sys
import time

from bench.core.partition_graph import PROCESSES, graph, heavy, light, noop
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


def skewed(pairs: int, runs: int, *, stealing: bool) -> float:
    """A large and a small unit in turn, dealt out in turn: one worker has all the large ones in its queue. The best run.

    The processes are started, and the kinds measured, by a run that does not count.
    """
    units = [unit for n in range(pairs) for unit in (Unit(f"heavy{n}", heavy), Unit(f"light{n}", light))]
    best = float("inf")
    with QuantumPartitioner("processes", workers=(PROCESSES, PROCESSES), stealing=stealing) as partitioner:
        partitioner.run_sync(units).check()
        for _ in range(runs):
            began = time.perf_counter()
            partitioner.run_sync(units).check()
            best = min(best, time.perf_counter() - began)
    return len(units) / best


if __name__ == "__main__":
    what, count, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    figure = small(count, runs) if what == "noop" else skewed(count, runs, stealing=what == "stealing")
    sys.stdout.write(f"{figure}\n")
