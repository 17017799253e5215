# SPDX-License-Identifier: Apache-2.0
"""Suite *core*, the partitioner: overhead of small units against dask's threaded scheduler; balance of skewed units."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, interleave, peer_python

HERE = Path(__file__).parent
UNITS = 10_000  # of the issue; SCALE shortens only what is repeated
RUNS = 5
PAIRS = 60  # 0.54 s on two processes that are never idle


def run(size: float, console: Console) -> Sequence[Figure]:
    """Small units a second, dask is the peer; skewed units a second, beside the ideal and beside ourselves without
    stealing, which is a setting of the partitioner.
    """
    python = peer_python("core", HERE / "peers" / "requirements.txt")
    runs = str(max(1, int(RUNS * size)))
    ours = [sys.executable, "-m", "bench.core.partition_ours"]
    peer = [python, "-m", "bench.core.peers.partition_dask", str(UNITS), runs]
    mine, theirs = interleave(
        [Contestant("nerv", [*ours, "noop", str(UNITS), runs]), Contestant("dask", peer)], "small units", console
    )
    pairs = str(max(20, int(PAIRS * size)))
    stealing, dealt, ideal = interleave(
        [
            Contestant("stealing", [*ours, "stealing", pairs, "3"]),
            Contestant("dealt out", [*ours, "dealt", pairs, "3"]),
            Contestant("ideal", [sys.executable, "-m", "bench.core.partition_ideal", pairs, "3"]),
        ],
        "skewed units",
        console,
    )
    return [
        Figure("partition.small_units_per_second", mine, theirs, goal=3.0),
        Figure("partition.skewed_units_per_second_against_the_ideal", stealing, ideal, goal=1 / 1.15),
        Figure("partition.skewed_units_per_second_against_no_stealing", stealing, dealt, goal=1.5),
    ]
