# SPDX-License-Identifier: Apache-2.0
"""Suite *consume*: `nerv.kafka.BatchConsumer` against a bare loop of `consume(5000)` and a FastStream handler."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, Measured, interleave_all, kafka_for_measuring, peer_python
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic

PEERS = Path(__file__).parent / "peers"
RECORDS = 1_000_000  # a second at the rate of those who are fast
SHARE = 50  # FastStream reads a fiftieth of them: it takes longer
PARTITIONS = 4
TOPIC = "bench.consume.v1"


def run(scale: float, console: Console) -> Sequence[Figure | Measured]:
    """CPU for a million records, and records a second; the topic holds them before anybody reads."""
    python = peer_python("broker", PEERS / "requirements.txt")
    count = max(100_000, int(RECORDS * scale))
    with kafka_for_measuring(lambda text: console.print(text)) as bootstrap:
        Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench").create([Topic(TOPIC, PARTITIONS)], replication=1)
        told = [bootstrap, TOPIC]
        fill = [sys.executable, "-m", "bench.broker.ours_produce", *told, str(count), "batches"]
        Contestant("filling the topic", fill).turn()
        all_of_it = [*told, str(PARTITIONS), str(count)]
        ours, bare, faststream = interleave_all(
            [
                Contestant("nerv", [sys.executable, "-m", "bench.broker.ours_consume", *all_of_it]),
                Contestant("confluent-kafka", [python, "-m", "bench.broker.peers.consume_bare", *all_of_it]),
                Contestant(
                    "faststream", [python, "-m", "bench.broker.peers.consume_faststream", *told, str(count // SHARE)]
                ),
            ],
            "consume",
            console,
        )
    return [
        Figure("consume.in_batches_per_second", ours[1], bare[1], goal=0.9),
        Figure("consume.in_batches_per_second_against_faststream", ours[1], faststream[1], goal=10.0),
        *(
            Measured(f"consume.cpu_seconds_per_million_{name}", figures[0], "s")
            for name, figures in {"nerv": ours, "bare_loop": bare, "faststream": faststream}.items()
        ),
    ]
