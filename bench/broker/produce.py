# SPDX-License-Identifier: Apache-2.0
"""Suite *produce*: `nerv.kafka.Producer` against a bare confluent-kafka loop, same client settings, same records."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.harness import Contestant, Figure, interleave, kafka_for_measuring, peer_python
from nerv.kafka import KafkaSettings
from nerv.kafka.admin import Admin
from nerv.topics import Topic

HERE = Path(__file__).parent
RECORDS = 200_000
PARTITIONS = 4
TOPIC = "bench.produce.v1"


def run(scale: float, console: Console) -> Sequence[Figure]:
    """Records a second, acknowledged by Kafka, in batches of 500."""
    python = peer_python("confluent", HERE / "peers" / "confluent.txt")
    count = str(max(5000, int(RECORDS * scale)))
    with kafka_for_measuring(lambda text: console.print(text)) as bootstrap:
        settings = KafkaSettings(bootstrap_servers=bootstrap)
        Admin(settings, "bench").create([Topic(TOPIC, PARTITIONS)], replication=1)
        ours = Contestant("nerv", [sys.executable, "-m", "bench.broker.ours_produce", bootstrap, TOPIC, count])
        peer = Contestant("confluent-kafka", [python, str(HERE / "peers" / "produce.py"), bootstrap, TOPIC, count])
        mine, theirs = interleave([ours, peer], "produce", console)
    return [Figure("produce.records_per_second", mine, theirs, goal=0.8)]
