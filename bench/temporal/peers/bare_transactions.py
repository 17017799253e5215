# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP TOPIC COUNT`: a bare loop of transactions of 100 records each, two producers in turn. Prints records a second.

One producer alone waits 20 ms for the markers of its last transaction; that would be no match.
"""

import sys
import time

from confluent_kafka import Producer

BATCH = 100
DATA = (
    b'{"name":"a counter of things","n":%d,"by":"somebody@example.org","place":"Newark Liberty Intl","note":"on time"}'
)
HEADERS = [
    ("ce_specversion", b"1.0"), ("ce_source", b"bench"), ("ce_type", b"counter.counted.v1"), ("ce_subject", b"counter-0"),
    ("ce_time", b"2026-11-26T12:00:00.000000Z"), ("ce_recordedtime", b"2026-11-26T12:00:00.000000Z"),
    ("content-type", b"application/json"),
]  # fmt: skip


def producer(bootstrap: str, name: str) -> Producer:
    """A transactional producer."""
    made = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"bare-{name}", "linger.ms": 5, "acks": "all"})
    made.init_transactions(15.0)
    return made


def main(bootstrap: str, topic: str, count: int) -> float:
    """Records a second."""
    producers = [producer(bootstrap, name) for name in "ab"]

    def transaction(number: int) -> None:
        one = producers[number % 2]
        one.begin_transaction()
        for n in range(BATCH):
            headers = [*HEADERS, ("ce_id", b"%d/%d" % (number, n)), ("ce_sequence", b"%d" % (number * BATCH + n))]
            one.produce(topic, DATA % n, b"counter-0", 0, headers=headers)
        one.commit_transaction(10.0)

    for number in range(20):
        transaction(number)
    began = time.perf_counter()
    for number in range(count):
        transaction(number)
    return count * BATCH / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], sys.argv[2], int(sys.argv[3]))}\n")
