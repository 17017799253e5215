# SPDX-License-Identifier: Apache-2.0
"""Write the events twice: as history holds them, and as plain records for the peers. Not measured."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from bench.projector.events import PARTITIONS, TOPIC, TYPE, events
from nerv.cloudevents import to_headers
from nerv.kafka import partition_of
from nerv.kafka.admin import Admin
from nerv.kafka.settings import KafkaSettings
from nerv.topics import Topic, of_mesh
from nerv.types import Event

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_topics(bootstrap: str, mesh: str, projections: Iterable[str]) -> None:
    """The topics of a mesh, and that of the peers."""
    topics = [*of_mesh(mesh, partitions=PARTITIONS, projections=projections), Topic(TOPIC, PARTITIONS)]
    Admin(KafkaSettings(bootstrap_servers=bootstrap), "bench").create(topics, replication=1)


def fill(bootstrap: str, mesh: str, count: int, first: int = 0) -> None:
    """Write events number `first` to `count`, each once to each topic."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "acks": "all"})
    versions: dict[str, int] = {}
    for number, (key, value) in enumerate(events(count), 1):
        stream = f"counter-{key}"
        versions[key] = versions.get(key, 0) + 1
        if number <= first:
            continue
        partition = partition_of(stream, PARTITIONS)
        now = START + timedelta(milliseconds=number)
        event = Event(
            f"e{number}", "bench", TYPE, now, value, subject=stream, recorded_time=now, sequence=versions[key]
        )
        for topic, headers in ((f"{mesh}.history.v1", to_headers(event)), (TOPIC, None)):
            while True:
                try:
                    producer.produce(topic, value, key.encode(), partition, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    producer.flush()
