# SPDX-License-Identifier: Apache-2.0
"""Suite *produce*: `nerv.kafka.Producer` against a bare confluent-kafka loop and aiokafka: same settings, same records."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, Measured, interleave_all, kafka_for_measuring, peer_python
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic

PEERS = Path(__file__).parent / "peers"
RECORDS = 200_000
PARTITIONS = 4
TOPIC = "bench.produce.v1"


def run(scale: float, console: Console) -> Sequence[Figure | Measured]:
    """CPU for a million records, and records a second, acknowledged by all replicas."""
    python = peer_python("broker", PEERS / "requirements.txt")
    with kafka_for_measuring(lambda text: console.print(text)) as bootstrap:
        Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench").create([Topic(TOPIC, PARTITIONS)], replication=1)
        told = [bootstrap, TOPIC, str(max(5000, int(RECORDS * scale)))]
        ours = [sys.executable, "-m", "bench.broker.ours_produce", *told]
        batches, places, futures, bare, aiokafka = interleave_all(
            [
                Contestant("batches", [*ours, "batches"]),
                Contestant("places", [*ours, "places"]),
                Contestant("futures", [*ours, "futures"]),
                Contestant("confluent-kafka", [python, "-m", "bench.broker.peers.produce_bare", *told]),
                Contestant("aiokafka", [python, "-m", "bench.broker.peers.produce_aiokafka", *told]),
            ],
            "produce",
            console,
        )
    named = {"batches": batches, "places": places, "futures": futures, "bare_loop": bare, "aiokafka": aiokafka}
    return [
        Figure("produce.in_batches_per_second", batches[1], bare[1], goal=0.9),
        Figure("produce.with_places_per_second", places[1], bare[1], goal=0.8),
        Figure("produce.with_futures_per_second", futures[1], bare[1], goal=0.45),
        Figure("produce.with_futures_per_second_against_aiokafka", futures[1], aiokafka[1], goal=3.0),
        *(Measured(f"produce.cpu_seconds_per_million_{name}", figures[0], "s") for name, figures in named.items()),
    ]
