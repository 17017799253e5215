# SPDX-License-Identifier: Apache-2.0
"""Write the events twice: as history holds them, and as plain records for the peers. Not measured."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
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


def fill(bootstrap: str, mesh: str, count: int, *, traced: int = 0) -> None:
    """Write so many events, each once to each topic; or to history alone, every so-many-th in a sampled trace of its own."""
    writer = _Writer(bootstrap)
    versions: dict[str, int] = {}
    for number, (key, value) in enumerate(events(count), 1):
        versions[key] = versions.get(key, 0) + 1
        event = event_of(f"e{number}", key, value, START + timedelta(milliseconds=number), versions[key])
        if traced and number % traced == 0:
            event = replace(event, traceparent=f"00-{number:032x}-{number:016x}-01")
        writer.write(f"{mesh}.history.v1", event, key, to_headers(event))
        if not traced:
            writer.write(TOPIC, event, key, None)
    writer.flush()


def grow(bootstrap: str, mesh: str, count: int) -> None:
    """Write so many more events, to history alone."""
    writer, turn = _Writer(bootstrap), uuid.uuid4().hex[:8]
    for number, (key, value) in enumerate(events(count)):
        event = event_of(f"{turn}-{number}", key, value, datetime.now(UTC), 1)
        writer.write(f"{mesh}.history.v1", event, key, to_headers(event))
    writer.flush()


def event_of(name: str, key: str, value: bytes, instant: datetime, version: int) -> Event[bytes]:
    """An event of the stream of a key."""
    stream = f"counter-{key}"
    return Event(name, "bench", TYPE, instant, value, subject=stream, recorded_time=instant, sequence=version)


class _Writer:
    """A producer that waits where its queue is full."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "acks": "all"})

    def write(self, topic: str, event: Event[bytes], key: str, headers: list[tuple[str, bytes]] | None) -> None:
        """An event as a record of a topic, in the partition of its stream."""
        partition = partition_of(event.stream, PARTITIONS)
        while True:
            try:
                self._producer.produce(topic, event.data, key.encode(), partition, headers=headers)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def flush(self) -> None:
        """Until Kafka has all of it."""
        self._producer.flush()
