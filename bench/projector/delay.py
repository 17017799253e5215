# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP REDIS MESH PROJECTION RATE SECONDS`: history grows by so many events a second; how long until a view shows each.

The clock of an event starts before the transaction that appends it, and stops when the cursor that is written with the views
is seen to cover it. Prints median and 99 of 100, ms.
"""

import asyncio
import itertools
import statistics
import sys
import time
from collections import deque
from collections.abc import Sequence

import uvloop

from bench.projector.events import PARTITIONS, key_of, value_of
from bench.projector.filling import event_of
from bench.projector.http_reads import all_there
from bench.projector.serving import mesh_of
from nerv.cloudevents import to_headers
from nerv.kafka import KafkaSettings, Outgoing, Position, TransactionalProducer, partition_of
from nerv.protocols.views import Cursor, Epoch
from nerv.redis import RedisSettings, connect
from nerv.types import utc_now
from nerv_projector.views import RedisViews

TICK_SECONDS = 0.004  # between two transactions; temporal commits as often
LOOK_SECONDS = 0.001
WARM_SECONDS = 5.0  # of events that are not counted
LATEST_SECONDS = 30.0  # for the last ones


def record(mesh: str, number: int) -> Outgoing:
    """An event of history."""
    key = key_of(number)
    event = event_of(f"delay-{number}", key, value_of(number), utc_now(), 1)
    partition = partition_of(event.stream, PARTITIONS)
    return Outgoing(f"{mesh}.history.v1", event.data, key.encode(), to_headers(event), partition)


class Watch:
    """What has been appended and is not in the views."""

    def __init__(self, views: RedisViews, epoch: Epoch) -> None:
        self._views, self._epoch = views, epoch
        self._open: dict[int, deque[tuple[float, int]]] = {p: deque() for p in range(PARTITIONS)}
        self.waits: list[float] = []

    def appended(self, at: float, places: Sequence[Position]) -> None:
        """These, by a transaction that began then."""
        for _, partition, offset in places:
            self._open[partition].append((at, offset))

    async def run(self) -> None:
        """Look at the cursors, over and over."""
        while True:
            cursors = (await self._views.progress(self._epoch)).cursors
            now = time.perf_counter()
            for partition, stored in cursors.items():
                waiting, reached = self._open[partition], Cursor.from_bytes(stored).next_offset
                while waiting and waiting[0][1] < reached:
                    self.waits.append(now - waiting.popleft()[0])
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def open(self) -> int:
        """How many are not in the views yet."""
        return sum(map(len, self._open.values()))


class Appender:
    """Two producers that take turns, as temporal's do."""

    def __init__(self, bootstrap: str, mesh: str, watch: Watch) -> None:
        kafka = KafkaSettings(bootstrap_servers=bootstrap)
        self._producers = [TransactionalProducer(kafka, f"bench-{mesh}/{name}", f"bench-{name}") for name in "ab"]
        self._turns = itertools.cycle(self._producers)
        self._mesh, self._watch = mesh, watch
        self._numbers = itertools.count()

    async def start(self) -> None:
        """Make both ready."""
        for producer in self._producers:
            await producer.start()

    async def run(self, rate: float, seconds: float) -> None:
        """So many events a second, in transactions a few milliseconds apart."""
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            if due := int(passed * rate) - sent:
                sent += due
                at, producer = time.perf_counter(), next(self._turns)
                places = await producer.write([record(self._mesh, next(self._numbers)) for _ in range(due)])
                await producer.commit((), {})
                self._watch.appended(at, places)
            await asyncio.sleep(TICK_SECONDS)

    async def close(self) -> None:
        """Let both go."""
        for producer in self._producers:
            await producer.close()


async def measure(
    port: int, bootstrap: str, redis: str, mesh: str, projection: str, rate: float, seconds: float
) -> list[float]:
    """The figures of a projector that has caught up."""
    await all_there(port)
    client = connect(RedisSettings(url=redis), "bench")
    views = RedisViews(client, mesh, projection)
    epoch = await views.epoch()
    assert epoch is not None
    watch = Watch(views, epoch)
    watching = asyncio.create_task(watch.run())
    appender = Appender(bootstrap, mesh, watch)
    await appender.start()
    await appender.run(rate, WARM_SECONDS)
    watch.waits.clear()
    await appender.run(rate, seconds)
    async with asyncio.timeout(LATEST_SECONDS):
        while watch.open:  # noqa: ASYNC110 - the views tell nobody
            await asyncio.sleep(LOOK_SECONDS)
    watching.cancel()
    await appender.close()
    await client.aclose()
    cuts = statistics.quantiles(watch.waits, n=100)
    return [cuts[49] * 1000, cuts[98] * 1000]


def main(bootstrap: str, redis: str, mesh: str, projection: str, rate: float, seconds: float) -> list[float]:
    """The figures of a projector of its own."""
    with mesh_of(bootstrap, redis, mesh) as port:
        return uvloop.run(measure(port, bootstrap, redis, mesh, projection, rate, seconds))


if __name__ == "__main__":
    bootstrap, redis, mesh, projection, rate, seconds = sys.argv[1:]
    figures = main(bootstrap, redis, mesh, projection, float(rate), float(seconds))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
