# SPDX-License-Identifier: Apache-2.0
"""Dask's threaded scheduler on the same graph of functions that do nothing: `COUNT RUNS`. Prints units a second."""

import sys
import time

import dask.threaded

from bench.core.partition_graph import graph, noop


def small(count: int, runs: int) -> float:
    """A plain dict graph, all results asked for, after a run that does not count."""
    units = {name: (noop, *needs) for name, needs in graph(count).items()}
    names = list(units)
    dask.threaded.get(units, names)
    began = time.perf_counter()
    for _ in range(runs):
        dask.threaded.get(units, names)
    return runs * count / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.stdout.write(f"{small(int(sys.argv[1]), int(sys.argv[2]))}\n")
