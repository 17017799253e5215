# SPDX-License-Identifier: Apache-2.0
"""`PORT append|load COUNT THREADS`: the library eventsourcing on PostgreSQL, each thread with a stream of its own.

Appends one event at a time with its exact version, below its aggregates, at its recorder: the fastest that it has. `load` reads
a stream of 1,000 events into objects. Prints events a second.
"""

import gc
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import (
    DatetimeAsISO,
    DecimalAsStr,
    EventStore,
    JSONTranscoder,
    Mapper,
    StoredEvent,
    UUIDAsHex,
)
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from bench.broker.records import COLLECTOR

STREAM = 1000
POOL = 64  # connections; more make it slower
STATE = (
    b'{"name":"a counter of things","n":%d,"by":"somebody@example.org","place":"Newark Liberty Intl","note":"on time",'
    b'"timestamp":{"_type_":"datetime_iso","_data_":"2026-11-26T12:00:00.000000+00:00"}}'
)


@dataclass(frozen=True)
class Counted(DomainEvent):
    """One more."""

    name: str
    n: int
    by: str
    place: str
    note: str


def recorder_of(port: str, threads: int) -> PostgresApplicationRecorder:
    """A recorder with a table."""
    pool = min(threads, POOL)
    datastore = PostgresDatastore(
        dbname="postgres", host="127.0.0.1", port=port, user="postgres", password="", pool_size=pool,
        max_overflow=0, max_waiting=0, pool_open_timeout=30, connect_timeout=60,
    )  # fmt: skip
    recorder = PostgresApplicationRecorder(datastore, events_table_name="events")
    recorder.create_table()
    return recorder


def append(recorder: PostgresApplicationRecorder, count: int, threads: int) -> float:
    """Appends a second."""
    left, lock = iter(range(count)), threading.Lock()

    def write() -> None:
        stream, version = uuid4(), 0
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            version += 1
            recorder.insert_events([StoredEvent(stream, version, "bench:Counted", STATE % number)])

    recorder.insert_events(
        [StoredEvent(uuid4(), 1, "bench:Counted", STATE % 0)]
    )  # opens the pool, which threads race for
    workers = [threading.Thread(target=write) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return count / (time.perf_counter() - began)


def load(recorder: PostgresApplicationRecorder, count: int) -> float:
    """Events a second, from the table to objects."""
    transcoder = JSONTranscoder()
    for one in (UUIDAsHex(), DecimalAsStr(), DatetimeAsISO()):
        transcoder.register(one)
    store = EventStore(Mapper(transcoder), recorder)
    stream = uuid4()
    now = datetime.fromisoformat("2026-11-26T12:00:00+00:00")
    text = ("a counter of things", "somebody@example.org", "Newark Liberty Intl", "on time")
    store.put([Counted(stream, n + 1, now, text[0], n, *text[1:]) for n in range(STREAM)])
    rounds = max(1, count // STREAM)
    list(store.get(stream))
    began = time.perf_counter()
    for _ in range(rounds):
        assert len(list(store.get(stream))) == STREAM
    return rounds * STREAM / (time.perf_counter() - began)


if __name__ == "__main__":
    _, port, what, count, threads = sys.argv
    gc.set_threshold(*COLLECTOR)
    found = recorder_of(port, int(threads))
    figure = append(found, int(count), int(threads)) if what == "append" else load(found, int(count))
    sys.stdout.write(f"{figure}\n")
    sys.stdout.flush()
