# SPDX-License-Identifier: Apache-2.0
"""`once|at-least-once|bare BOOTSTRAP TOPIC REQUESTS EVENTS CONNECTIONS RATE`: starts a server and publishes to it, so many events
a request, as fast as it answers, or so many requests a second. Prints events a second, CPU seconds of the server for a million
events, and the waits for an answer, ms: median and 99 of 100.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator

import uvloop

from bench.broker.app import TYPE
from bench.broker.serving import Server, serving
from bench.connection import answering, send

TURN_SECONDS = 240.0
TEXT = "x" * 180
EVENT = (
    '{"specversion":"1.0","id":"%d","source":"bench","type":"' + TYPE + '","time":"2026-11-26T12:00:00Z",'
    '"datacontenttype":"application/json","data":{"name":"key-%d","number":%d,"text":"' + TEXT + '"}}'
)


def request(path: str, first: int, events: int) -> bytes:
    """One publish."""
    made = [EVENT % (number, number % 1000, number) for number in range(first, first + events)]
    body = made[0] if events == 1 else f"[{','.join(made)}]"
    kind = "application/cloudevents+json" if events == 1 else "application/cloudevents-batch+json"
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def lane(
    path: str, number: int, lanes: int, requests: int, numbers: tuple[int, int], begin: float, rate: float
) -> Iterator[tuple[float, bytes]]:
    """What one connection sends: every so many-eth of all. `numbers` are that of the first event, and how many a request."""
    first, events = numbers
    for turn in range(number, requests, lanes):
        yield (begin + turn / rate if rate else 0.0), request(path, first + turn * events, events)


async def load(server: Server, path: str, requests: int, events: int, connections: int, rate: float) -> list[float]:
    """The figures."""
    await answering(server.port, request(path, 0, events))

    async def turn(first: int, count: int) -> list[float]:
        begin = asyncio.get_running_loop().time() + 0.05
        numbers = (first, events)
        told = [lane(path, number, connections, count, numbers, begin, rate) for number in range(connections)]
        return await send(server.port, told)

    warm = max(connections, requests // 5)
    await turn(events, warm)
    cpu, began = server.cpu(), time.perf_counter()
    waits = await turn(events * (warm + 1), requests)  # none of them is known yet
    seconds = time.perf_counter() - began
    sent = requests * events
    cuts = statistics.quantiles(waits, n=100)
    return [sent / seconds, (server.cpu() - cpu) / sent * 1e6, cuts[49] * 1000, cuts[98] * 1000]


def main(
    kind: str, bootstrap: str, topic: str, requests: int, events: int, connections: int, rate: float
) -> list[float]:
    """The figures of a server of its own."""
    path = f"/v1/topics/{topic}/events"
    if kind == "at-least-once":
        path += "?guarantee=at-least-once"
    with serving("bare" if kind == "bare" else "ours", bootstrap, topic) as server:
        return uvloop.run(asyncio.wait_for(load(server, path, requests, events, connections, rate), TURN_SECONDS))


if __name__ == "__main__":
    kind, bootstrap, topic, requests, events, connections, rate = sys.argv[1:]
    figures = main(kind, bootstrap, topic, int(requests), int(events), int(connections), float(rate))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
