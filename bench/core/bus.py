# SPDX-License-Identifier: Apache-2.0
"""Suite *core*, the bus: one subscriber, without and with three middlewares, against blinker's own `send`."""

import sys
from collections.abc import Sequence

from rich.console import Console

from bench.harness import Contestant, Figure, interleave

SENDS = 500_000


def run(size: float, console: Console) -> Sequence[Figure]:
    """Sends a second; at most 1.5 times and 3 times the time of blinker, which has neither order, history nor middleware."""
    count = str(max(10_000, int(SENDS * size)))
    ours = [sys.executable, "-m", "bench.core.bus_ours", count]
    contestants = [
        Contestant("nerv", [*ours, "0"]),
        Contestant("nerv, three middlewares", [*ours, "3"]),
        Contestant("blinker", [sys.executable, "-m", "bench.core.peers.bus_blinker", count]),
    ]
    plain, passed, peer = interleave(contestants, "sends", console)
    return [
        Figure("bus.sends_per_second", plain, peer, goal=1 / 1.5),
        Figure("bus.sends_past_three_middlewares_per_second", passed, peer, goal=1 / 3),
    ]
