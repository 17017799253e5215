# SPDX-License-Identifier: Apache-2.0
"""Ours: `load COUNT`, `envelopes COUNT` or `as_of EVENTS`, on an index in this process.

`load` reads a stream of 1,000 events into the app's objects and prints events a second; `envelopes` asks each for its envelope as
well, which is made only then. `as_of` asks for the state of a stream
of so many events at 300 instants of its life, twice, and prints how many such answers a second the median of the second
round makes.
"""

import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.broker.records import COLLECTOR
from bench.temporal.app import app, counted
from nerv.history import content_digest
from nerv.protocols import ReadQuery
from nerv_temporal.index import Index, PartitionState
from nerv_temporal.model import Stored
from nerv_temporal.reads import StreamReader
from nerv_temporal.states import StateQuery, state_of

STREAM = 1000
ASKED = 300
START = datetime(2013, 1, 1, tzinfo=UTC)
CHUNK = 5000


@contextmanager
def indexed(events: int) -> Iterator[Index]:
    """An index with one stream of so many events, a minute apart, as it is once RocksDB has compacted it."""
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name:
        index = Index(Path(name) / "index", "bench")
        for start in range(0, events, CHUNK):
            index.apply(
                0, [placed(n) for n in range(start, min(start + CHUNK, events))], PartitionState(start + CHUNK, 1, "")
            )
        index.database.compact()
        yield index
        index.close()


def placed(number: int) -> tuple[int, Stored]:
    """The n-th event at its offset."""
    at = START + timedelta(minutes=number)
    event = replace(counted(number, f"id-{number}"), time=at)
    event = replace(event, subject="counter-1", sequence=number + 1, recorded_time=at)
    return number, Stored(event, content_digest(event))


def load(count: int, *, envelopes: bool = False) -> float:
    """Events a second, from the index to objects."""
    with indexed(STREAM) as index:

        def whole() -> int:
            reader, found = StreamReader.existing(index, "counter-1", ReadQuery()), []
            while not reader.done:
                found += [app.decode(event) for event in reader.slice(STREAM)]
            return sum(1 for event in found if event.meta.sequence) if envelopes else len(found)

        whole()
        rounds = max(1, count // STREAM)
        began = time.perf_counter()
        assert sum(whole() for _ in range(rounds)) == rounds * STREAM
        return rounds * STREAM / (time.perf_counter() - began)


async def as_of(events: int) -> float:
    """Answers a second, by the median."""
    instants = [START + timedelta(minutes=events * n / ASKED) for n in range(1, ASKED + 1)]
    with indexed(events) as index:
        seconds: list[float] = []
        for turn in range(2):
            for instant in instants:
                began = time.perf_counter()
                await state_of(index, app, "counter-1", StateQuery(as_of=instant))
                if turn:
                    seconds.append(time.perf_counter() - began)
                await asyncio.sleep(0)  # what a fold keeps is written by the loop
        return 1 / statistics.median(seconds)


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    what, number = sys.argv[1], int(sys.argv[2])
    figure = asyncio.run(as_of(number)) if what == "as_of" else load(number, envelopes=what == "envelopes")
    sys.stdout.write(f"{figure}\n")
