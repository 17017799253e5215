# SPDX-License-Identifier: Apache-2.0
"""Suite *broker*: publishing and consuming in process, the HTTP door of one worker, a thousand subscribers, reactions."""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from rich.console import Console

from bench.broker import consume, produce, reactions
from bench.broker.serving import PARTITIONS
from bench.harness import Contestant, Figure, Measured, kafka_for_measuring, peer_python, progress
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic

PEERS = Path(__file__).parent / "peers"
TOPIC, FANNED = "bench.noted.v1", "bench.fanned.v1"
CONNECTIONS = 64
BATCH, BATCH_CONNECTIONS = 500, 8
SUBSCRIBERS, RATE, SECONDS = 1000, 100.0, 60.0
ROUNDS = 3

Found = list[Figure | Measured]


def run(scale: float, console: Console) -> Sequence[Figure | Measured]:
    """All of it."""
    found: Found = [*produce.run(scale, console), *consume.run(scale, console)]
    with kafka_for_measuring(lambda text: console.print(text)) as bootstrap:
        topics = [Topic(TOPIC, PARTITIONS), Topic(FANNED, PARTITIONS)]
        Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench").create(topics, replication=1)
        found += single(bootstrap, scale, console)
        found += batches(bootstrap, scale, console)
        found += fan_out(bootstrap, scale, console)
    return [*found, *reactions.run(scale, console)]


def single(bootstrap: str, scale: float, console: Console) -> Found:
    """One event a request over 64 connections: as fast as it goes, and at half of that beside bare Kafka.

    The bare handler produces at least once, so that is what it is compared with; publishing once is shown beside.
    """
    count = max(2000, int(40_000 * scale))
    ours, once, bare = _turns(
        [http(kind, bootstrap, count, 1, CONNECTIONS) for kind in ("at-least-once", "once", "bare")], "single", console
    )
    half = ours[0] / 2
    least = max(2000, int(half * 20 * scale))
    door, kafka = _turns(
        [http("at-least-once", bootstrap, least, 1, CONNECTIONS, half), program("acks", bootstrap, TOPIC, least, half)],
        "half load",
        console,
    )
    return [
        Figure("broker.http_single_per_second", ours[0], bare[0], goal=0.7),
        Measured("broker.http_single_cpu_seconds_per_million", ours[1], "s"),
        Measured("broker.http_single_once_per_second", once[0], "1/s"),
        Measured("broker.http_single_once_cpu_seconds_per_million", once[1], "s"),
        Measured("broker.http_single_cpu_seconds_per_million_bare_handler", bare[1], "s"),
        Measured("broker.http_half_load_p50", door[2], "ms"),
        Measured("broker.http_half_load_p99", door[3], "ms"),
        Measured("broker.kafka_half_load_p99", kafka[1], "ms"),
        Measured("broker.http_half_load_added_p99", door[3] - kafka[1], "ms", most=2.0),
    ]


def batches(bootstrap: str, scale: float, console: Console) -> Found:
    """500 events a request, beside a bare loop that has no door."""
    count = max(100, int(400 * scale))
    peer = [peer_python("broker", PEERS / "requirements.txt"), "-m", "bench.broker.peers.produce_bare"]
    ours, once, handler, loop = _turns(
        [
            *(http(kind, bootstrap, count, BATCH, BATCH_CONNECTIONS) for kind in ("at-least-once", "once", "bare")),
            Contestant("bare loop", [*peer, bootstrap, TOPIC, str(count * BATCH)]),
        ],
        "batches",
        console,
    )
    return [
        Figure("broker.http_batches_per_second", ours[0], loop[1], goal=0.5),
        Measured("broker.http_batches_cpu_seconds_per_million", ours[1], "s"),
        Measured("broker.http_batches_once_per_second", once[0], "1/s"),
        Measured("broker.http_batches_once_cpu_seconds_per_million", once[1], "s"),
        Measured("broker.http_batches_per_second_bare_handler", handler[0], "1/s"),
        Measured("broker.http_batches_cpu_seconds_per_million_bare_handler", handler[1], "s"),
        Measured("broker.http_batches_cpu_seconds_per_million_bare_loop", loop[0], "s"),
    ]


def fan_out(bootstrap: str, scale: float, console: Console) -> Found:
    """A thousand subscribers of one topic, 100 events a second: once, for a minute."""
    told = (bootstrap, FANNED, SUBSCRIBERS, RATE, max(10.0, SECONDS * scale))
    with progress(console) as bar:
        task = bar.add_task(f"{SUBSCRIBERS} subscribers", total=1)
        missed, twice, resident, cpu, middle, late = program("fan_out", *told).figures()
        bar.update(task, advance=1)
    return [
        Measured("broker.fan_out_events_missed", missed, "", most=0.0),
        Measured("broker.fan_out_events_twice", twice, "", most=0.0),
        Measured("broker.fan_out_resident", resident, "MiB", most=512.0),
        Measured("broker.fan_out_cpu", cpu, "CPUs"),
        Measured("broker.fan_out_delay_p50", middle, "s"),
        Measured("broker.fan_out_delay_p99", late, "s"),
    ]


def http(kind: str, bootstrap: str, requests: int, events: int, connections: int, rate: float = 0.0) -> Contestant:
    """A server with its load."""
    return program("http_load", kind, bootstrap, TOPIC, requests, events, connections, rate, name=f"{kind} handler")


def program(module: str, *told: object, name: str = "") -> Contestant:
    """A program of this suite."""
    return Contestant(name or module, [sys.executable, "-m", f"bench.broker.{module}", *map(str, told)])


def _turns(contestants: Sequence[Contestant], title: str, console: Console) -> list[list[float]]:
    """The medians of all figures of each, in turns."""
    turns: list[list[list[float]]] = [[] for _ in contestants]
    with progress(console) as bar:
        task = bar.add_task(title, total=ROUNDS * len(contestants))
        for _ in range(ROUNDS):
            for found, contestant in zip(turns, contestants, strict=True):
                found.append(contestant.figures())
                bar.update(task, advance=1, description=f"{title}: {contestant.name} {found[-1][0]:,.0f}")
    return [[median(column) for column in zip(*found, strict=True)] for found in turns]
