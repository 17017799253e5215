# SPDX-License-Identifier: Apache-2.0
"""A bare loop: `BOOTSTRAP TOPIC COUNT`, consume 2,000, produce each to another topic, offsets in the transaction.

It decodes nothing and checks nothing; its output is as long as its input. Prints records a second.
"""

import sys
import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition

BATCH = 2000


def main(bootstrap: str, topic: str, count: int) -> float:
    """From the first batch on."""
    group = uuid.uuid4().hex
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": group, "linger.ms": 5, "compression.type": "lz4"}
    )
    producer.init_transactions(30)
    done, began, first = 0, 0.0, 0
    while done < count:
        records = consumer.consume(BATCH, 1.0)
        if not records:
            continue
        producer.begin_transaction()
        offsets: dict[int, int] = {}
        for record in records:
            producer.produce("bench.out.v1", record.value(), record.key(), headers=record.headers())
            offsets[record.partition()] = record.offset() + 1
        positions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
        producer.commit_transaction()
        done += len(records)
        if not first:
            began, first = time.perf_counter(), len(records)
    return (done - first) / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], sys.argv[2], int(sys.argv[3]))}\n")
