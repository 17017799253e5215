# SPDX-License-Identifier: Apache-2.0
"""Suite *core*, state: a delta of one field in a state of 10,000 keys, against the comparison of two dicts."""

import sys
from collections.abc import Sequence

from rich.console import Console

from bench.harness import Contestant, Figure, interleave

KEYS = 10_000
APPLIED, COMPARED = 200_000, 1_000
SLOWEST = 50_000.0  # a second: 20 µs each


def run(size: float, console: Console) -> Sequence[Figure]:
    """Applications a second, against our own bound of 20 µs and against comparing."""
    applied, compared = (str(max(100, int(full * size))) for full in (APPLIED, COMPARED))
    ours = Contestant("delta", [sys.executable, "-m", "bench.core.state_ours", str(KEYS), applied])
    peer = Contestant("dicts", [sys.executable, "-m", "bench.core.peers.state_dicts", str(KEYS), compared])
    mine, theirs = interleave([ours, peer], "deltas", console)
    return [
        Figure("state.deltas_applied_per_second_of_the_bound", mine, SLOWEST, goal=1.0),
        Figure("state.deltas_applied_per_second", mine, theirs, goal=100.0),
    ]
