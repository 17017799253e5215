# SPDX-License-Identifier: Apache-2.0
"""Suite *projector*: events folded a second, without keys and with a state for each, beside Faust and Quix Streams; what views
cost to read, now and as of an instant; how soon they change; what replicas cost together, and how soon one is back.

All read JSON events of 200 bytes from Kafka: ours with the envelope that history has, which is nine headers, the peers without;
beside that, Quix Streams also reads the very records that ours reads. With state each side writes what changes to Kafka, too:
Faust and Quix Streams to their changelog, ours as deltas to `<mesh>.changes.counter.v1`.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import (
    Contestant,
    Figure,
    Measured,
    interleave,
    interleave_all,
    kafka_for_measuring,
    peer_python,
    redis_for_measuring,
)
from bench.projector.events import TOPIC
from bench.projector.filling import fill, grow, make_topics
from bench.projector.written import measure as written

PEERS = Path(__file__).parent / "peers"
MESH = "bench"
FULL = 600_000
LEAST = 200_000  # fewer are all folded before the first look at how far it is
FAUST_SHARE = {"stateless": 8, "state": 40}  # of the events, or its turns take minutes
FEW = 3
PROJECTION = {"stateless": "totals", "state": "counter"}
GOALS = {"stateless": (5.0, 1.0), "state": (10.0, 1.2)}
TAIL_SHARE = 50  # of the events lie behind the views that a replica goes on from
READS = 30_000
CONNECTIONS = 64
INSTANTS = 400  # reads in a turn of each kind
RATE = 2000  # events a second that history grows by
RATE_SECONDS = 20

Found = list[Figure | Measured]


class Suite:
    """What the parts of the suite share."""

    def __init__(
        self, console: Console, bootstrap: str, redis_url: str, count: int, scale: float, folder: Path
    ) -> None:  # fmt: skip
        self._console, self._count, self._scale, self._folder = console, count, scale, str(folder)
        self._bootstrap, self._told = bootstrap, (bootstrap, redis_url, MESH)
        self._python = peer_python("projector", PEERS / "requirements.txt")

    def _ours(self, name: str, program: str, *told: str) -> Contestant:
        return Contestant(name, [sys.executable, "-m", f"bench.projector.{program}", *told])

    def _fold(self, name: str, what: str, projection: str) -> Contestant:
        return self._ours(name, "ours_fold", what, *self._told, projection, str(self._count // TAIL_SHARE))

    def folds(self, what: str) -> Found:
        """Events a second of ours and both peers, and what a million of them cost."""
        told = (self._bootstrap, what)
        faust_count = str(max(2000, self._count // FAUST_SHARE[what]))
        contestants = [
            self._fold("nerv", "fold", PROJECTION[what]),
            self._quix("quix", what, TOPIC),
            self._quix("quix_on_history", what, f"{MESH}.history.v1"),
            self._peer("faust", "plain_faust", *told, faust_count, self._folder),
        ]
        turns = interleave_all(contestants, what, self._console, rounds=FEW)
        costs, (ours, quix, same, faust) = zip(*turns, strict=True)
        goal_faust, goal_quix = GOALS[what]
        figure, spent = f"projector.{what}_events_per_second_beside", f"projector.{what}_cpu_seconds_a_million"
        return [
            Figure(f"{figure}_faust", ours, faust, goal_faust),
            Figure(f"{figure}_quix", ours, quix, goal_quix),
            Measured(f"{figure}_quix_on_the_same_records", ours / same, "x"),
            *(Measured(f"{spent}_{one.name}", cost, "s") for one, cost in zip(contestants, costs, strict=True)),
        ]

    def _quix(self, name: str, what: str, topic: str) -> Contestant:
        return self._peer(name, "quix", self._bootstrap, what, str(self._count), topic, self._folder)

    def _peer(self, name: str, program: str, *told: str) -> Contestant:
        return Contestant(name, [self._python, "-m", f"bench.projector.peers.{program}", *told])

    def replicas(self) -> Found:
        """What two replicas use of the CPU together, beside one."""
        told = (*self._told, PROJECTION["state"])
        contestants = [self._ours(f"{n} replicas", "replicas", *told, str(n)) for n in (1, 2)]
        (one, _), (two, _) = interleave_all(contestants, "replicas", self._console, rounds=FEW)
        return [Measured("projector.cpu_of_two_replicas_beside_one", two / one, "x", most=1.15)]

    def reads(self) -> Found:
        """Views read by key, beside a bare handler on the same server that does the same GET."""
        told = (*self._told, PROJECTION["state"], str(max(3000, int(READS * self._scale))), str(CONNECTIONS))
        contestants = [self._ours(name, "http_reads", name, *told) for name in ("ours", "bare")]
        (ours, _), (bare, _) = interleave_all(contestants, "reads by key", self._console)
        return [Figure("projector.http_reads_per_second_beside_bare_handler", ours, bare, 0.7)]

    def instants(self) -> Found:
        """Views as of an instant, one at a time, beside those of now."""
        self._console.print("reads as of an instant")
        told = (*self._told, PROJECTION["state"], str(max(100, int(INSTANTS * self._scale))), str(self._count))
        now, then = self._ours("instants", "http_reads", "instants", *told).figures()
        return [
            Measured("projector.read_of_now_median", now, "ms"),
            Measured("projector.read_as_of_beside_now", then / now, "x", most=3.0),
        ]

    def delays(self) -> Found:
        """How long from an append to the changed view, while history grows."""
        self._console.print(f"appends, {RATE} a second")
        told = (*self._told, PROJECTION["state"], str(RATE), str(max(5.0, RATE_SECONDS * self._scale)))
        turns = sorted(self._ours("delay", "delay", *told).figures() for _ in range(FEW))
        median, tail = turns[FEW // 2]
        return [
            Measured("projector.appended_to_view_changed_median", median, "ms", most=25.0),
            Measured("projector.appended_to_view_changed_99th_percentile", tail, "ms", most=100.0),
        ]

    def restores(self) -> Found:
        """A replica that goes on from the views and the tail of history, beside one that folds all of history.

        History is in full size, always: to start is most of what the first one takes, however much there is.
        """
        grow(self._bootstrap, MESH, FULL - self._count)
        told = (*self._told, PROJECTION["state"], str(FULL // TAIL_SHARE))
        contestants = [self._ours(what, "ours_fold", what, *told) for what in ("replay", "restore")]
        replay, restore = interleave(contestants, "restore", self._console, rounds=FEW)
        return [Figure("projector.events_covered_per_second_restored", FULL / restore, FULL / replay, 10.0)]


def run(scale: float, console: Console) -> Sequence[Figure | Measured]:
    """All of it; some fifteen minutes at full size."""
    count = max(LEAST, int(FULL * scale))
    with (
        kafka_for_measuring(console.print) as bootstrap,
        redis_for_measuring() as redis_url,
        tempfile.TemporaryDirectory(prefix="nerv-bench-") as folder,
    ):
        make_topics(bootstrap, MESH, PROJECTION.values())
        console.print(f"{count:,} events into Kafka")
        fill(bootstrap, MESH, count)
        suite = Suite(console, bootstrap, redis_url, count, scale, Path(folder))
        parts = (suite.replicas, suite.reads, suite.instants, suite.delays, suite.restores)  # the last ones append
        return [
            *suite.folds("stateless"),
            *suite.folds("state"),
            *written(),
            *(figure for part in parts for figure in part()),
        ]
