# SPDX-License-Identifier: Apache-2.0
"""Suite *sync*: what a diff costs, beside diffsync's own of the same rows.

diffsync goes through all objects each time, so that its objects a second at 100,000 are taken for those at 1,000,000 too (at
which it needs 5 GB).
"""

import sys
from collections.abc import Sequence

from rich.console import Console

from bench.harness import Contestant, Figure, interleave

MANY, FEW, CHANGED = 1_000_000, 100_000, 1_000


def run(size: float, console: Console) -> Sequence[Figure]:
    """Cold and warm, in objects a second; memory, in objects a MiB."""
    many, few, changed = (max(10, int(full * size)) for full in (MANY, FEW, CHANGED))

    def ours(what: str, count: int) -> Contestant:
        return Contestant("ours", [sys.executable, "-m", "bench.sync.ours", what, str(count), str(changed)])

    def peer(what: str) -> Contestant:
        return Contestant("diffsync", [sys.executable, "-m", "bench.sync.peers.full", what, str(few), str(changed)])

    cold, their_cold = interleave([ours("cold", few), peer("cold")], "cold", console)
    memory, their_memory = interleave([ours("memory", few), peer("memory")], "memory", console)
    warm_many, warm_few, their_warm = interleave([ours("warm", many), ours("warm", few), peer("warm")], "warm", console)
    seconds = many / warm_many, few / warm_few
    return [
        Figure(f"sync.cold_objects_per_second_of_{few}", cold, their_cold, goal=10.0),
        Figure(f"sync.cold_objects_per_mebibyte_of_{few}", memory, their_memory, goal=2.0),
        Figure(f"sync.warm_objects_per_second_of_{few}_with_{changed}_changed", warm_few, their_warm, goal=10.0),
        Figure(f"sync.warm_objects_per_second_of_{many}_with_{changed}_changed", warm_many, their_warm, goal=100.0),
        Figure(
            f"sync.warm_changes_per_second_of_{many}_to_{few}", changed / seconds[0], changed / seconds[1], goal=1 / 1.5
        ),
    ]
