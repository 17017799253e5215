# SPDX-License-Identifier: Apache-2.0
"""The write path with nothing on it: `BOOTSTRAP COUNT IN_FLIGHT`: transactions of one record for each writer that waits.

One fenced writer a partition, as an owner has, and records as an owner writes them, but made before the clock starts; no ids and
no versions are checked, nothing is indexed, no time is spent on what is appended. This is what Kafka and its client leave for
everything else. Prints records a second.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import uvloop

from bench.temporal.app import counted
from bench.temporal.hosting import PARTITIONS, settings_for
from nerv.kafka import FencedWriter, Outgoing
from nerv.kafka.owning import Fence, fence_record
from nerv.types import utc_now
from nerv_temporal.records import event_record


class Bare:
    """One partition."""

    def __init__(self, writer: FencedWriter) -> None:
        self._writer = writer
        self._waiting: list[tuple[Outgoing, asyncio.Future[int]]] = []
        self._arrived = asyncio.Event()

    async def append(self, record: Outgoing) -> int:
        """Write one record in the next transaction; its offset."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, answer))
        self._arrived.set()
        return await answer

    async def serve(self) -> None:
        """Commit what waits, again and again."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            taken, self._waiting = self._waiting, []
            last = await self._writer.commit([record for record, _ in taken])
            for index, (_, answer) in enumerate(reversed(taken)):
                answer.set_result(last - index)


async def measure(bootstrap: str, count: int, in_flight: int) -> float:
    """Records a second."""
    mesh = f"b{uuid.uuid4().hex[:8]}"
    topic = settings_for(bootstrap, mesh, Path()).history
    kafka = settings_for(bootstrap, mesh, Path()).kafka
    writers = [FencedWriter(kafka, topic, p, f"{mesh}-{p}") for p in range(PARTITIONS)]
    for p, writer in enumerate(writers):
        await writer.take_over(
            lambda token, name, p=p: fence_record(topic, p, Fence("bench", "", token, name), utc_now(), "bench")  # type: ignore[misc]
        )
    partitions = [Bare(writer) for writer in writers]
    serving = [asyncio.create_task(partition.serve()) for partition in partitions]
    records = [_record(topic, number) for number in range(count)]
    warm, left = iter(records[: 4 * in_flight]), iter(records)

    async def write(number: int, source: Iterator[Outgoing]) -> None:
        partition = partitions[number % PARTITIONS]
        for record in source:
            await partition.append(record._replace(partition=number % PARTITIONS))

    await asyncio.gather(*(write(n, warm) for n in range(in_flight)))
    began = time.perf_counter()
    await asyncio.gather(*(write(n, left) for n in range(in_flight)))
    seconds = time.perf_counter() - began
    for task in serving:
        task.cancel()
    for writer in writers:
        await writer.close()
    return count / seconds


def _record(topic: str, number: int) -> Outgoing:
    event = replace(
        counted(number, f"counter/{number}"),
        subject=f"counter-{number % 512}",
        sequence=number,
        recorded_time=utc_now(),
    )
    return event_record(topic, 0, event)


if __name__ == "__main__":
    sys.stdout.write(f"{uvloop.run(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))}\n")
