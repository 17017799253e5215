# SPDX-License-Identifier: Apache-2.0
"""Suite *core*, effects: long chains against the PyPI package `effect`; a batch handler against one call for each effect."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, interleave, peer_python

HERE = Path(__file__).parent
CHAIN = 100_000
SMALL = 10_000
LONG = 10_000  # `effect` copies a chain for each link: 100,000 of them take it 47 s


def run(size: float, console: Console) -> Sequence[Figure]:
    """Effects a second, built and performed; the best of three within each turn."""
    peer = [peer_python("core", HERE / "peers" / "requirements.txt"), str(HERE / "peers" / "effects_effect.py")]
    ours = [sys.executable, "-m", "bench.core.effects_ours"]
    count, long, small = (str(max(1000, int(full * size))) for full in (CHAIN, LONG, SMALL))

    def pair(what: str, number: str) -> list[float]:
        mine, theirs = Contestant("nerv", [*ours, what, number, "3"]), Contestant("effect", [*peer, what, number, "3"])
        return interleave([mine, theirs], f"effects, {what}", console)

    step, their_step = pair("recursive", count)
    link, their_link = pair("chained", long)
    batch, single = interleave(
        [Contestant("batch", [*ours, "batch", small, "3"]), Contestant("one by one", [*ours, "single", small, "3"])],
        "small effects",
        console,
    )
    return [
        Figure("effects.recursive_steps_per_second", step, their_step, goal=5.0),
        Figure("effects.chained_links_per_second", link, their_link, goal=5.0),
        Figure("effects.batched_per_second", batch, single, goal=20.0),
    ]
