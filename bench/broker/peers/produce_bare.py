# SPDX-License-Identifier: Apache-2.0
"""The peer: a bare confluent-kafka loop as its own examples write it, with the same settings. Prints CPU seconds for a
million records, and records a second.
"""

import gc
import sys

from confluent_kafka import Producer

from bench.broker.records import COLLECTOR, HEADERS, VALUE, Stopwatch


def measure(bootstrap, topic, count):
    """Until the last one is acknowledged."""
    failed = []
    done = 0

    def report(error, message):
        nonlocal done
        done += 1
        if error is not None:
            failed.append(error)

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 2,
            "queue.buffering.max.messages": 100_001,
        }
    )
    producer.produce(topic, VALUE, b"warm", headers=HEADERS)
    producer.flush()
    watch = Stopwatch()
    for i in range(count):
        while True:
            try:
                producer.produce(
                    topic, VALUE, b"key-%d" % i, headers=[*HEADERS, ("ce_id", b"%d" % i)], on_delivery=report
                )
                break
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)
    producer.flush()
    figures = watch.figures(count)
    if failed or done != count:
        sys.exit(f"{len(failed)} failed, {done} of {count} reported: {failed[:1]}")
    return figures


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    sys.stdout.write(f"{measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))}\n")
