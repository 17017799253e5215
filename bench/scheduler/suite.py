# SPDX-License-Identifier: Apache-2.0
"""Suite *scheduler*: tasks that do nothing, chains, fan-outs, skewed and tiny tasks, waiting runs; each beside its peers.

Ours is measured from the request that starts a run to its recorded end, with its whole journal in Kafka; the queues of peers
are full when their clock starts, and they keep no journal. All use the same Redis; dask.distributed and HyperQueue need none.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import (
    TURN_SECONDS,
    Contestant,
    Figure,
    Measured,
    interleave,
    interleave_all,
    kafka_for_measuring,
    peer_python,
    redis_for_measuring,
)

PEERS = Path(__file__).parent / "peers"
NOOPS, CHAIN, FAN, TINY, SKEWED, READY, WAITING = 20_000, 1000, 10_000, 10_000, 1600, 5000, 100_000
WAITING_SECONDS = 1500.0  # to start them all
ARQ_SHARE = 4  # of the tasks, or its turns take minutes
FEW = 3
PLAIN = "QUANTUM_SECONDS=0"
AHEAD = "QUANTUM_SECONDS=0.5"

Found = list[Figure | Measured]


class Suite:
    """What the parts of the suite share."""

    def __init__(self, scale: float, console: Console, kafka: str, redis_url: str) -> None:
        self._scale, self._console, self._kafka, self._redis = scale, console, kafka, redis_url

    def count(self, full: int, least: int = 100) -> str:
        """How many, at this scale."""
        return str(max(least, int(full * self._scale)))

    def ours(
        self, what: str, count: str, *settings: str, name: str = "nerv", seconds: float = TURN_SECONDS
    ) -> Contestant:
        """A program of ours."""
        words = [sys.executable, "-m", "bench.scheduler.ours", what, self._kafka, self._redis, count, *settings]
        return Contestant(name, words, seconds)

    def peer(self, name: str, program: str, *told: str) -> Contestant:
        """A program of a peer, in an environment of its own."""
        python = peer_python(f"scheduler-{name}", PEERS / f"{name}.txt")
        return Contestant(name, [python, "-m", f"bench.scheduler.peers.{program}", *told])

    def noops(self) -> Found:
        """Tasks that do nothing, side by side, on one worker process."""
        count = self.count(NOOPS, 1000)
        few = str(max(500, int(count) // ARQ_SHARE))
        ours, streaq, taskiq, arq, plain = interleave(
            [
                self.ours("wide", count),
                self.peer("streaq", "streaq_noop", self._redis, count),
                self.peer("taskiq", "taskiq_noop", self._redis, count),
                self.peer("arq", "arq_noop", self._redis, few),
                self.ours("wide", few, PLAIN, name="nerv, not fused"),
            ],
            "no-op tasks",
            self._console,
            rounds=FEW,
        )
        return [
            Figure("scheduler.noops_per_second_beside_streaq", ours, streaq, 2.0),
            Figure("scheduler.noops_per_second_beside_taskiq", ours, taskiq, 2.0),
            Figure("scheduler.noops_per_second_beside_arq", ours, arq, 10.0),
            Figure("scheduler.noops_per_second_not_fused_beside_streaq", plain, streaq, 1.0),
        ]

    def graphs(self) -> Found:
        """A chain and a fan-out."""
        found: Found = []
        for what, full in (("chain", CHAIN), ("fan", FAN)):
            count = self.count(full, 200)
            ours, plain, dask, hyperqueue = interleave(
                [
                    self.ours(what, count),
                    self.ours(what, self.count(full // 4, 200), PLAIN, name="nerv, not fused"),
                    self.peer("dask", "dask_graph", what, count),
                    self.peer("hyperqueue", "hyperqueue_graph", what, count),
                ],
                what,
                self._console,
                rounds=FEW,
            )
            found += [
                Figure(f"scheduler.{what}_tasks_per_second_beside_dask", ours, dask, 1 / 0.3),
                Figure(f"scheduler.{what}_tasks_per_second_beside_hyperqueue", ours, hyperqueue, 1 / 3),
                Figure(f"scheduler.{what}_tasks_per_second_not_fused_beside_dask", plain, dask, 1.0),
            ]
        return found

    def tiny(self) -> Found:
        """Tasks of a millisecond: that wait for it, side by side and in a chain, and that compute for it in a thread."""
        found: Found = []
        # Fewer take as long to start and to end as to do.
        for what, full in (("rests", TINY), ("spins", TINY), ("steps", CHAIN)):
            count = self.count(full, full)
            fused, plain = interleave(
                [self.ours(what, count), self.ours(what, count, PLAIN, name="nerv, not fused")],
                f"tasks of 1 ms: {what}",
                self._console,
                rounds=FEW,
            )
            found.append(Figure(f"scheduler.{what}_of_1_ms_per_second_fused_beside_not_fused", fused, plain, 3.0))
        return found

    def skewed(self) -> Found:
        """Tasks of which few take long, on two workers."""
        count = self.count(SKEWED, SKEWED)
        # Quanta of 50 ms leave little to steal; where a replica takes half a second's work ahead, stealing is what divides it.
        (ideal, seconds), (_, ahead), (_, bound) = interleave_all(
            [
                self.ours("skewed", count),
                self.ours("skewed", count, AHEAD, name="nerv, half a second ahead"),
                self.ours("skewed", count, AHEAD, "STEALING=false", name="nerv, without stealing"),
            ],
            "skewed tasks on two workers",
            self._console,
            rounds=FEW,
        )
        return [
            Measured("scheduler.skewed_times_ideal", seconds / ideal, "x", most=1.15),
            Figure("scheduler.skewed_with_stealing_half_a_second_ahead", 1000 / ahead, 1000 / bound, 1.5),
        ]

    def ready(self) -> Found:
        """From ready to started, at half load."""
        self._console.print("from ready to started")
        half, most = self.ours("ready", self.count(READY, 1000)).figures()
        return [
            Measured("scheduler.ready_to_started_median", half, "ms", most=5.0),
            Measured("scheduler.ready_to_started_99th_percentile", most, "ms", most=25.0),
        ]

    def waiting(self) -> Found:
        """Runs that wait: what each takes of Redis, and what all cost."""
        count = self.count(WAITING, 2000)
        self._console.print(f"{int(count):,} runs that wait; takes a while")
        size, share = self.ours("waiting", count, seconds=WAITING_SECONDS).figures()
        return [
            Measured("scheduler.waiting_run_bytes_of_redis", size, "bytes", most=1024),
            Measured("scheduler.waiting_runs_processor_share", share, "s/s", most=0.02),
        ]


def run(scale: float, console: Console) -> Sequence[Figure | Measured]:
    """All of it; some ten minutes at full size."""
    with kafka_for_measuring(console.print) as bootstrap, redis_for_measuring() as redis_url:
        suite = Suite(scale, console, bootstrap, redis_url)
        return [*suite.noops(), *suite.graphs(), *suite.tiny(), *suite.skewed(), *suite.ready(), *suite.waiting()]
