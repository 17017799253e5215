# SPDX-License-Identifier: Apache-2.0
"""The peer: a bare loop of `consume(5000)`, with the same settings. Prints CPU seconds for a million records, and
records a second, from the first batch on.
"""

import gc
import sys
import uuid

from confluent_kafka import Consumer, TopicPartition

from bench.broker.records import COLLECTOR, TAKEN, VALUE, Stopwatch


def measure(bootstrap, topic, partitions, count):
    """Each record's value is looked at."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": 65_536,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    read = size = first = 0
    while read < count:
        records = consumer.consume(TAKEN, 0.05)
        if not records:
            continue
        if not read:
            watch, first = Stopwatch(), len(records)
        for record in records:
            if record.error() is not None:
                sys.exit(str(record.error()))
            size += len(record.value())
        read += len(records)
    figures = watch.figures(read - first)
    consumer.close()
    assert size == read * len(VALUE)
    return figures


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    bootstrap, topic, partitions, count = sys.argv[1:]
    sys.stdout.write(f"{measure(bootstrap, topic, int(partitions), int(count))}\n")
