# SPDX-License-Identifier: Apache-2.0
"""Ours: `disk SHARE`, `growth BOOTSTRAP APPENDS SIZE...` or `rebuild BOOTSTRAP EVENTS`.

`disk` puts so much of the year of flights into an index and prints bytes of raw JSON, of JSON compressed event by event with
zstd, of the index, and events. `growth` fills the index with events of other streams and prints appends a second, 64 in
flight, at each size; how far it is it says on standard error. `rebuild` writes so many events to Kafka and prints how many a
second come into an empty index.
"""

import asyncio
import gc
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import uvloop
import zstandard

from bench.broker.records import COLLECTOR
from bench.harness import PROGRESS
from bench.temporal.app import DATA, TYPE, counted
from bench.temporal.hosting import PARTITIONS, hosted, settings_for
from bench.temporal.ours_append import Writers
from flights.data import data_folder, events_in_order, load_flights
from flights.registry import app as flights
from nerv.api.event.v1 import event_pb2
from nerv.cloudevents import to_headers, to_structured
from nerv.cloudevents.proto_format import from_us, to_us
from nerv.effects import append
from nerv.effects.identity import effect_ids
from nerv.history import content_digest
from nerv.kafka import KafkaSettings, Outgoing, Producer, partition_of
from nerv.kafka.admin import Admin
from nerv.types import Event, utc_now
from nerv.types.event import JSON
from nerv_temporal.app import Wiring
from nerv_temporal.index import Index, PartitionState, Row
from nerv_temporal.model import Stored
from nerv_temporal.tail import Tail

CHUNK = 2000
LOADED = 5000  # events that come into the index in one batch, as it grows
SAID_SECONDS = 10.0  # between two words of how far it is
STREAMS = 1000
IN_FLIGHT = 64
TURNS = 5
ELSEWHERE = 1000  # a partition that the log does not have, for events that no log holds
BATCH = 2000
BASE_US = 1_700_000_000_000_000


def year(share: float) -> Iterator[Event[bytes]]:
    """The events of the flights as their reactions record them, one stream an aircraft."""
    months = load_flights(data_folder(), range(1, max(1, round(12 * share)) + 1))
    versions: dict[str, int] = {}
    recorded = utc_now()
    for number, event in enumerate(events_in_order(months)):
        model = flights.decode(event)
        stream = model.stream  # type: ignore[attr-defined]  # every event of the flights has one
        versions[stream] = versions.get(stream, 0) + 1
        [effect] = effect_ids("flights", "record", event, [append(stream, model)])
        yield replace(
            event, id=effect, subject=stream, sequence=versions[stream], partition_key=None, correlation_id=event.id,
            causation_id=event.id, recorded_time=recorded + timedelta(milliseconds=number // 50),
        )  # fmt: skip


def disk(share: float) -> str:
    """Bytes: raw, event by event, the index; and events."""
    compress = zstandard.ZstdCompressor(level=3).compress
    raw = single = offset = 0
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name:
        index, held = Index(Path(name) / "index", "bench"), list[tuple[int, Stored]]()
        for event in year(share):
            line = orjson.dumps(to_structured(event))
            raw, single = raw + len(line) + 1, single + len(compress(line))
            held.append((offset, Stored(event, content_digest(event))))
            offset += 1
            if len(held) == CHUNK:
                index.apply(0, held, PartitionState(offset, 1, ""))
                held = []
        index.apply(0, held, PartitionState(offset, 1, ""))
        index.database.compact()
        size = index.database.size()
        index.close()
    return f"{raw} {single} {size} {offset}"


async def growth(bootstrap: str, appends: int, sizes: list[int]) -> str:
    """Appends a second into an index that holds so many events already, for each size: the median of five turns."""
    async with hosted(bootstrap) as wiring:
        index, filled, found = wiring.index(), 0, list[float]()
        await _append(wiring, appends, "warm")
        for size in sizes:
            await _grow(index, filled, size)
            filled = size
            await asyncio.to_thread(index.database.compact)
            found.append(statistics.median([await _append(wiring, appends, f"{size}-{n}") for n in range(TURNS)]))
            _say(f"{size:,} events there: {found[-1]:,.0f} appends/s")
    return " ".join(map(str, found))


async def _grow(index: Index, filled: int, size: int) -> None:
    began = said = time.perf_counter()
    for start in range(filled, size, LOADED):
        end = min(start + LOADED, size)
        index.write(ELSEWHERE, map(_other, range(start, end)), PartitionState(0, 0, ""))
        await asyncio.sleep(0)  # the owners live on
        now = time.perf_counter()
        if now - said > SAID_SECONDS or end == size:
            said = now
            _say(f"{end:,} of {size:,} events loaded, {(end - filled) / (now - began):,.0f}/s")


def _say(text: str) -> None:
    sys.stderr.write(f"{PROGRESS}growth: {text}\n")
    sys.stderr.flush()


async def _append(wiring: Wiring, appends: int, name: str) -> float:
    writers = Writers(wiring.router(), appends)
    began = time.perf_counter()
    await asyncio.gather(*(writers.write(f"counter-{name}-{n}") for n in range(IN_FLIGHT)))
    return appends / (time.perf_counter() - began)


def _other(number: int) -> tuple[int, Row]:
    stream, version = f"other-{number % STREAMS}", number // STREAMS + 1
    at = BASE_US + number
    message = event_pb2.Event(
        id=f"other-{number}", source="bench", type=TYPE, time_us=at, recorded_time_us=at, data=DATA % number,
        content_type=JSON, subject=stream, sequence=version,
    )  # fmt: skip
    row = Row(
        stream.encode(), version, message.id.encode(), TYPE.encode(), at, at, number.to_bytes(16, "big"),
        b"", message.SerializeToString(),
    )  # fmt: skip
    return number, row


async def rebuild(bootstrap: str, events: int) -> float:
    """Events a second from Kafka into an empty index."""
    kafka, mesh = KafkaSettings(bootstrap_servers=bootstrap), f"r{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="nerv-bench-") as name:
        settings = settings_for(bootstrap, mesh, Path(name))
        await _fill(kafka, settings.history, events)
        index = Index(settings.index_dir, Admin(kafka, "bench").state_of(settings.history).id)
        began = time.perf_counter()
        async with Tail(kafka, "bench", settings.history, PARTITIONS, index) as tail:
            await tail.catch_up()
            seconds = time.perf_counter() - began
        assert sum(index.partition(p).next_offset for p in range(PARTITIONS)) == events
        index.close()
    return events / seconds


async def _fill(kafka: KafkaSettings, topic: str, events: int) -> None:
    base = to_us(utc_now())
    async with Producer(kafka, "bench-fill") as producer:
        for start in range(0, events, BATCH):
            records = []
            for number in range(start, min(start + BATCH, events)):
                stream = f"counter-{number % STREAMS}"
                event = replace(
                    counted(number, f"id-{number}"), subject=stream, sequence=number // STREAMS + 1,
                    recorded_time=from_us(base + number),
                )  # fmt: skip
                partition = partition_of(stream, PARTITIONS)
                records.append(Outgoing(topic, event.data, stream.encode(), to_headers(event), partition))
            await producer.publish_all(records)


def main(what: str, *told: str) -> str:
    """The figures, as they are printed."""
    if what == "disk":
        return disk(float(told[0]))
    if what == "growth":
        return uvloop.run(growth(told[0], int(told[1]), [int(size) for size in told[2:]]))
    return str(uvloop.run(rebuild(told[0], int(told[1]))))


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    sys.stdout.write(f"{main(*sys.argv[1:])}\n")
