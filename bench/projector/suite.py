# SPDX-License-Identifier: Apache-2.0
"""Suite *projector*: events folded a second, without keys and with a state for each, beside Faust and Quix Streams.

All read JSON events of 200 bytes from Kafka; ours with the envelope that history has. With state each side writes what changes to
Kafka, too: Faust and Quix Streams to their changelog, ours as deltas to `<mesh>.changes.counter.v1`.
"""

import sys
import tempfile
import uuid
from collections.abc import Sequence
from os import environ
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, Measured, interleave, kafka_for_measuring, peer_python
from bench.projector.events import KEYS
from bench.projector.filling import fill, make_topics
from bench.projector.written import measure as written
from nerv.dev import redis
from nerv.dev.guard import guard, mark
from nerv.dev.ports import Ports
from nerv.dev.processes import stop_together

PEERS = Path(__file__).parent / "peers"
MESH = "bench"
FULL = 600_000
FAUST_SHARE = {"stateless": 8, "state": 40}  # of the events, or its turns take minutes
FEW = 3
PROJECTION = {"stateless": "totals", "state": "counter"}
GOALS = {"stateless": (5.0, 1.0), "state": (10.0, 1.2)}

Found = list[Figure | Measured]


class Suite:
    """What the parts of the suite share."""

    def __init__(self, console: Console, bootstrap: str, redis_url: str, count: int) -> None:
        self._console, self._bootstrap, self._redis, self._count = console, bootstrap, redis_url, count
        self._python = peer_python("projector", PEERS / "requirements.txt")

    def folds(self, what: str) -> Found:
        """Events a second of ours and both peers, and what a million of them cost."""
        console, told = self._console, (self._bootstrap, what)
        faust_count = str(max(2000, self._count // FAUST_SHARE[what]))
        contestants = [
            Contestant(
                "nerv",
                [
                    sys.executable,
                    "-m",
                    "bench.projector.ours_fold",
                    self._bootstrap,
                    self._redis,
                    MESH,
                    PROJECTION[what],
                ],
            ),
            Contestant("quix", [self._python, "-m", "bench.projector.peers.quix", *told, str(self._count)]),
            Contestant("faust", [self._python, "-m", "bench.projector.peers.plain_faust", *told, faust_count]),
        ]
        ours, quix, faust = interleave(contestants, what, console, rounds=FEW)
        goal_faust, goal_quix = GOALS[what]
        costs = [
            Measured(f"projector.{what}_cpu_seconds_a_million_{one.name}", one.figures()[0], "s") for one in contestants
        ]
        return [
            Figure(f"projector.{what}_events_per_second_beside_faust", ours, faust, goal_faust),
            Figure(f"projector.{what}_events_per_second_beside_quix", ours, quix, goal_quix),
            *costs,
        ]


def run(scale: float, console: Console) -> Sequence[Figure | Measured]:
    """All of it; some five minutes at full size."""
    token = uuid.uuid4().hex[:12]
    count = max(4 * KEYS, int(FULL * scale))
    with (
        kafka_for_measuring(console.print) as bootstrap,
        tempfile.TemporaryDirectory(prefix="nerv-bench-") as name,
        guard(token),
    ):
        folder = Path(name)
        server = redis.start(folder / "redis", mark(environ, token), log=folder / "redis.log", ports=Ports(folder))
        try:
            make_topics(bootstrap, MESH, PROJECTION.values())
            console.print(f"{count:,} events into Kafka")
            fill(bootstrap, MESH, count)
            suite = Suite(console, bootstrap, server.address, count)
            return [*suite.folds("stateless"), *suite.folds("state"), *written()]
        finally:
            if server.process is not None:
                stop_together([server.process], 10.0)
