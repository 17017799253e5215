# SPDX-License-Identifier: Apache-2.0
"""Suite *core*, perspectives: 5 of 20 fields of many states, against marshmallow's dump with `only=`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, interleave, peer_python

HERE = Path(__file__).parent
STATES, RUNS = 10_000, 30  # SCALE shortens what is repeated


def run(size: float, console: Console) -> Sequence[Figure]:
    """States shown a second: of a flat perspective, and of one whose fields lie deeper, are computed and nested."""
    python = peer_python("core", HERE / "peers" / "requirements.txt")
    runs = str(max(3, int(RUNS * size)))
    found = []
    for what in ("flat", "deep"):
        ours = [sys.executable, "-m", "bench.core.perspectives_ours", what, str(STATES), runs]
        peer = [python, "-m", "bench.core.peers.perspectives_marshmallow", what, str(STATES), runs]
        mine, theirs = interleave(
            [Contestant("nerv", ours), Contestant("marshmallow", peer)], f"perspectives, {what}", console
        )
        found.append(
            Figure(f"perspectives.{what}_states_per_second", mine, theirs, goal=3.0 if what == "flat" else 1.0)
        )
    return found
