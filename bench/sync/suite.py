# SPDX-License-Identifier: Apache-2.0
"""Suite *sync*: what a diff costs, beside diffsync's own of the same rows, beside anti-joins of Polars, and between databases.

diffsync goes through all objects each time, so that its objects a second at 100,000 are taken for those at 1,000,000 too (at
which it needs 5 GB).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, Measured, interleave, peer_python
from bench.temporal.postgres import postgres_for_measuring

MANY, FEW, CHANGED = 1_000_000, 100_000, 1_000
FEWER = 3  # rounds, where a turn is long
PEERS = Path(__file__).parent / "peers"


def run(size: float, console: Console) -> Sequence[Figure | Measured]:
    """Cold and warm, in objects a second; memory, in objects a MiB; rows that are read of two databases, in percent."""
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
        *_frames(ours("cold", many), many, changed, console),
        *_databases(many, max(1, many // 1000), console),
    ]


def _frames(ours: Contestant, count: int, changed: int, console: Console) -> Sequence[Figure | Measured]:
    """Cold, beside frames that are made of the same rows and joined."""
    python = peer_python("sync", PEERS / "requirements.txt")
    polars = Contestant("polars", [python, "-m", "bench.sync.peers.frames", str(count), str(changed)])
    cold, theirs = interleave([ours, polars], "cold, beside Polars", console, FEWER)
    joined = polars.figures()[0]
    return [
        Figure(f"sync.cold_objects_per_second_of_{count}_beside_polars", cold, theirs, goal=1 / 4),
        Measured(f"sync.polars_joins_alone_of_{count}", joined, "objects/s"),
    ]


def _databases(count: int, changed: int, console: Console) -> Sequence[Measured]:
    """PostgreSQL to SQLite, warm."""
    with postgres_for_measuring(console.print, synchronous=False) as port:
        program = [sys.executable, "-m", "bench.sync.databases", str(port), str(count), str(changed)]
        left, right, told, seconds, first = Contestant("databases", program, 600.0).figures()
    name = f"of_{count}_with_{changed}_changed"
    return [
        Measured(f"sync.rows_read_from_postgresql_{name}", left, "%", most=2.0),
        Measured(f"sync.rows_read_from_sqlite_{name}", right, "%", most=2.0),
        Measured(f"sync.rows_read_as_postgresql_counts_{name}", told, "%", most=2.0),
        Measured(f"sync.seconds_between_databases_warm_{name}", seconds, "s"),
        Measured(f"sync.seconds_between_databases_cold_{name}", first, "s"),
    ]
