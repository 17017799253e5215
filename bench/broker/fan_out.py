# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP TOPIC SUBSCRIBERS RATE SECONDS`: so many subscribers of one topic of the broker, and so many events a second.

Each subscriber's events are counted, one by one. Prints events that anybody missed or got twice, resident memory of the broker
(MiB, the highest seen), the CPUs that it used, and the seconds until an event was there, median and 99 of 100.
"""

import asyncio
import re
import statistics
import sys
import time
from typing import cast

import uvloop

from bench.broker.app import TYPE
from bench.broker.serving import Server, serving
from bench.connection import START_SECONDS
from nerv.kafka import KafkaSettings, Outgoing, Producer

NUMBER = re.compile(rb'"number":(\d+),"sent":([\d.]+)')
SETTLE_SECONDS = 60.0
OPENED_AT_ONCE = 50


class Subscriber(asyncio.Protocol):
    """One connection: which numbers came, how often."""

    def __init__(self, topic: str, count: int) -> None:
        self._topic = topic
        self.seen = bytearray(count)
        self.left = count
        self.twice = 0
        self.delays: list[float] = []
        self._held = b""
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        asked = f"GET /v1/topics/{self._topic}/events HTTP/1.1\r\nhost: x\r\n\r\n"
        cast("asyncio.Transport", transport).write(asked.encode())

    def data_received(self, data: bytes) -> None:
        """Count what came."""
        if not self.begun.done():
            self._held += data
            if b"id: " in self._held:
                self.begun.set_result(None)
                self._held = b""
            return
        data = self._held + data
        end = data.rfind(b"\n\n") + 2
        self._held = data[end:] if end > 1 else data
        now = time.time()
        for number, sent in NUMBER.findall(data[:end] if end > 1 else b""):
            index = int(number)
            self.twice += self.seen[index]
            self.left -= not self.seen[index]
            self.seen[index] = 1
            if index % 50 == 0:
                self.delays.append(now - float(sent))
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more comes."""
        for future in (self.begun, self.done):
            if not future.done():
                future.set_exception(error or EOFError("the broker closed the connection"))


async def measure(
    server: Server, bootstrap: str, topic: str, subscribers: int, rate: float, seconds: float
) -> list[float]:
    """The figures."""
    loop = asyncio.get_running_loop()
    count = int(rate * seconds)
    made: list[Subscriber] = []
    await _listening(server.port)
    for first in range(0, subscribers, OPENED_AT_ONCE):
        some = [Subscriber(topic, count) for _ in range(first, min(first + OPENED_AT_ONCE, subscribers))]
        for one in some:
            await loop.create_connection(lambda one=one: one, "127.0.0.1", server.port)  # type: ignore[misc]
        await asyncio.wait_for(asyncio.gather(*(one.begun for one in some)), START_SECONDS)
        made += some
    cpu, began, resident = server.cpu(), time.perf_counter(), 0.0
    async with Producer(KafkaSettings(bootstrap_servers=bootstrap), "bench-fan-out") as producer:
        for number in range(count):
            await asyncio.sleep(max(began + number / rate - time.perf_counter(), 0.0))
            await producer.publish_all([_record(topic, number)])
            if number % int(rate) == 0:
                resident = max(resident, server.resident_mib())
    await asyncio.wait([one.done for one in made], timeout=SETTLE_SECONDS)
    used = (server.cpu() - cpu) / (time.perf_counter() - began)
    cuts = statistics.quantiles([delay for one in made for delay in one.delays], n=100)
    missed, twice = sum(one.left for one in made), sum(one.twice for one in made)
    return [missed, twice, max(resident, server.resident_mib()), used, cuts[49], cuts[98]]


def _record(topic: str, number: int) -> Outgoing:
    data = b'{"name":"key-%d","number":%d,"sent":%f,"text":"%s"}' % (number % 1000, number, time.time(), b"x" * 150)
    headers = [
        ("ce_specversion", b"1.0"), ("ce_id", b"%d" % number), ("ce_source", b"bench"), ("ce_type", TYPE.encode()),
        ("content-type", b"application/json"),
    ]  # fmt: skip
    return Outgoing(topic, data, b"key-%d" % (number % 1000), headers)


async def _listening(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


def main(bootstrap: str, topic: str, subscribers: int, rate: float, seconds: float) -> list[float]:
    """The figures of a broker of its own."""
    with serving("ours", bootstrap, topic) as server:
        return uvloop.run(measure(server, bootstrap, topic, subscribers, rate, seconds))


if __name__ == "__main__":
    figures = main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
