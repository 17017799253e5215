# SPDX-License-Identifier: Apache-2.0
"""Suite *temporal*: appends, batches, reads, as-of, disk, rebuild, HTTP and growth, each beside what it is measured by.

Durability is the same on both sides: Kafka acknowledges with `acks=all` from memory, PostgreSQL with `synchronous_commit=off`.
The class that synchronises to the disk is printed, too. UmaDB synchronises always.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, Measured, interleave, kafka_for_measuring, peer_python
from bench.temporal.hosting import PARTITIONS
from bench.temporal.postgres import postgres_for_measuring
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic

PEERS = Path(__file__).parent / "peers"
BARE = "bench.bare.v1"
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
WARM = "60000"  # appends, at any scale: some 2,000 transactions
GROWTH_SECONDS = 1500.0  # to fill an index with 10,000,000 events
DISK_SECONDS = 600.0
MORE = 4  # partitions: what `nerv dev` has, and twice what suits this machine
FEW = 3  # rounds, where a turn is long or nothing is compared

Found = list[Figure | Measured]


class Suite:
    """What the parts of the suite share."""

    def __init__(self, scale: float, console: Console, bootstrap: str) -> None:
        self._scale = scale
        self.console = console
        self.bootstrap = bootstrap
        self._peer = peer_python("temporal", PEERS / "requirements.txt")

    def count(self, full: int, least: int) -> str:
        """How many, at this scale."""
        return str(max(least, int(full * self._scale)))

    def ours(self, name: str, program: str, *told: str, seconds: float = 300.0) -> Contestant:
        """A program of ours."""
        return Contestant(name, [sys.executable, "-m", f"bench.temporal.{program}", *told], seconds)

    def peer(self, name: str, program: str, *told: str) -> Contestant:
        """A program of a peer."""
        return Contestant(name, [self._peer, "-m", f"bench.temporal.peers.{program}", *told])

    def warm(self) -> None:
        """Let the broker compile what it runs: a new one takes three times the CPU for a transaction, for a minute or so."""
        self.console.print("warming Kafka")
        self.ours("warm", "ours_append", self.bootstrap, "rate", WARM, "64").turn()

    def appends(self) -> Found:
        """One event with the exact version: 64 and 512 at a time, and one; in process, as the peer is."""
        found: Found = []
        with postgres_for_measuring(self.console.print, synchronous=False) as port:
            for in_flight, events, goal in ((64, 40_000, 15.0), (512, 100_000, 40.0)):
                told = (self.count(events, 4000), str(in_flight))
                ours, more, bare, theirs, uma = interleave(
                    [
                        self.ours("nerv", "ours_append", self.bootstrap, "rate", *told),
                        self.ours(f"nerv, {MORE} partitions", "ours_append", self.bootstrap, "rate", *told, str(MORE)),
                        self.ours("bare write path", "bare_append", self.bootstrap, *told),
                        self.peer("eventsourcing", "es", str(port), "append", self.count(2500, 600), str(in_flight)),
                        self.peer("umadb", "uma", self.count(5000, 600), str(in_flight)),
                    ],
                    f"appends, {in_flight} in flight",
                    self.console,
                )
                name = f"temporal.appends_{in_flight}_in_flight"
                found += [
                    Figure(f"{name}_per_second", ours, theirs, goal),
                    Measured(f"{name}_{MORE}_partitions_times_eventsourcing", more / theirs, "x"),
                    Measured(f"{name}_bare_times_eventsourcing", bare / theirs, "x"),
                    Measured(f"{name}_umadb", uma, "1/s"),
                ]
            load, envelopes, their_load = interleave(
                [
                    self.ours("nerv", "ours_read", "load", self.count(60_000, 5000)),
                    self.ours("nerv, with envelopes", "ours_read", "envelopes", self.count(60_000, 5000)),
                    self.peer("eventsourcing", "es", str(port), "load", self.count(60_000, 5000), "1"),
                ],
                "load of 1,000 events",
                self.console,
            )
            found.append(Figure("temporal.loaded_events_per_second", load, their_load, goal=5.0))
            found.append(Measured("temporal.loaded_with_envelopes_per_second", envelopes, "1/s"))
        return [*found, *self._latency()]

    def _latency(self) -> Found:
        one = self.ours("one at a time", "ours_append", self.bootstrap, "latency", self.count(1500, 300), "1")
        self.console.print("one append at a time")
        turns = sorted(one.figures() for _ in range(FEW))
        median, tail = turns[FEW // 2]
        return [
            Measured("temporal.append_median", median, "ms", most=4.0),
            Measured("temporal.append_99th_percentile", tail, "ms", most=12.0),
        ]

    def synchronised(self) -> Found:
        """The class that synchronises each write to the disk."""
        with postgres_for_measuring(self.console.print, synchronous=True) as port:
            ours, theirs = interleave(
                [
                    self.ours("nerv", "ours_append", self.bootstrap, "fsync", self.count(20_000, 2000), "64"),
                    self.peer("eventsourcing", "es", str(port), "append", self.count(1500, 600), "64"),
                ],
                "appends, synchronised",
                self.console,
                rounds=FEW,
            )
        return [
            Measured("temporal.appends_64_in_flight_fsync", ours, "1/s"),
            Measured("temporal.appends_64_in_flight_fsync_eventsourcing", theirs, "1/s"),
        ]

    def batches(self) -> Found:
        """100 events an append, beside a bare loop of transactions of 100 records."""
        count = self.count(600, 50)
        ours, bare = interleave(
            [
                self.ours("nerv", "ours_append", self.bootstrap, "batch", count, "1"),
                self.peer("bare transactions", "bare_transactions", self.bootstrap, BARE, count),
            ],
            "batches of 100",
            self.console,
        )
        return [Figure("temporal.events_in_batches_per_second", ours, bare, goal=0.5)]

    def instants(self) -> Found:
        """The state as of an instant, of a long stream beside that of a short one."""
        long, short = interleave(
            [
                self.ours("100,000 events", "ours_read", "as_of", self.count(100_000, 20_000)),
                self.ours("1,000 events", "ours_read", "as_of", "1000"),
            ],
            "as of an instant",
            self.console,
        )
        return [Figure("temporal.as_of_answers_per_second_long_beside_short", long, short, goal=1 / 1.5)]

    def disk(self) -> Found:
        """The flights in the index, beside them as raw JSON and compressed one by one."""
        self.console.print("the flights into an index")
        raw, single, size, events = self.ours(
            "the flights on disk", "ours_store", "disk", str(self._scale), seconds=DISK_SECONDS
        ).figures()
        return [
            Measured("temporal.times_smaller_than_json", raw / size, "x", least=3.0),
            Measured("temporal.times_smaller_than_zstd_event_by_event", single / size, "x", least=1.5),
            Measured("temporal.bytes_on_disk_an_event", size / events, "bytes"),
        ]

    def rebuild(self) -> Found:
        """An empty index, filled from Kafka."""
        [rate] = interleave(
            [self.ours("rebuild", "ours_store", "rebuild", self.bootstrap, self.count(400_000, 20_000))],
            "rebuild",
            self.console,
            rounds=FEW,
        )
        return [Measured("temporal.rebuilt_events_per_second", rate, "1/s", least=60_000)]

    def http(self) -> Found:
        """Appends by 64 connections, beside a bare handler on the same server that does the same transaction."""
        told = (self.bootstrap, BARE, self.count(15_000, 2000), "64")
        ours, bare = interleave(
            [self.ours("nerv", "http_load", "ours", *told), self.ours("bare handler", "http_load", "bare", *told)],
            "HTTP, 64 connections",
            self.console,
        )
        return [Figure("temporal.http_appends_per_second", ours, bare, goal=0.7)]

    def growth(self) -> Found:
        """Appends, the more events there are."""
        sizes = [size for size in SIZES if size <= max(100_000, SIZES[-1] * self._scale)]
        self.console.print(f"appends with {', '.join(f'{size:,}' for size in sizes)} events there; takes a while")
        rates = self.ours(
            "growth", "ours_store", "growth", self.bootstrap, self.count(20_000, 5000), *map(str, sizes),
            seconds=GROWTH_SECONDS,
        ).figures(self.console.print)  # fmt: skip
        curve: Found = [
            Measured(f"temporal.appends_with_{size}_events_there", rate, "1/s")
            for size, rate in zip(sizes, rates, strict=True)
        ]
        return [*curve, Figure(f"temporal.appends_with_{sizes[-1]}_beside_{sizes[0]}_events", rates[-1], rates[0], 0.9)]


def run(scale: float, console: Console) -> Sequence[Figure | Measured]:
    """All of it; some 25 minutes at full size."""
    with kafka_for_measuring(lambda text: console.print(text)) as bootstrap:
        Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench").create([Topic(BARE, PARTITIONS)], replication=1)
        suite = Suite(scale, console, bootstrap)
        suite.warm()
        found: Found = []
        for part in (
            suite.appends, suite.batches, suite.http, suite.instants, suite.rebuild, suite.disk, suite.growth,
            suite.synchronised,
        ):  # fmt: skip
            found += part()
    return found
