# SPDX-License-Identifier: Apache-2.0
"""`ours|bare BOOTSTRAP REDIS MESH PROJECTION COUNT CONNECTIONS`: views read by key through HTTP, of a server that is started for
it. The views are there. Prints requests a second and the median wait, ms.

`instants BOOTSTRAP REDIS MESH PROJECTION COUNT EVENTS`: one after the other, now and as of the instant at which half of so many
events had happened. Prints both medians, ms.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta

import uvloop

from bench.connection import answering, send
from bench.projector.app import app
from bench.projector.events import KEYS, key_of
from bench.projector.filling import START
from bench.projector.serving import bare, mesh_of
from nerv.projections import MERGED
from nerv.types import format_instant

TURN_SECONDS = 240.0
TURNS = 5


def request(projection: str, key: str, query: str = "") -> bytes:
    """One read."""
    return f"GET /v1/views/{projection}/{key}{query} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def lane(projection: str, first: int, count: int, query: str = "") -> Iterator[tuple[float, bytes]]:
    """What one connection asks: keys in no order."""
    return ((0.0, request(projection, key_of(number), query)) for number in range(first, first + count))


async def all_there(port: int, names: Iterable[str] = tuple(app.projections)) -> None:
    """Wait until the server listens and these projections have caught up, so that it is not at work on them."""
    for name in names:
        await answering(port, request(name, key_of(0) if app.projections[name].merge is None else MERGED))


async def read(port: int, projection: str, count: int, connections: int) -> list[float]:
    """Requests a second, and the median wait."""
    each = count // connections

    async def turn(requests: int) -> list[float]:
        return await send(port, [lane(projection, n * KEYS // connections, requests) for n in range(connections)])

    await turn(max(1, each // 5))
    began = time.perf_counter()
    waits = await turn(each)
    return [len(waits) / (time.perf_counter() - began), statistics.median(waits) * 1000]


async def instants(port: int, projection: str, count: int, events: int) -> list[float]:
    """The median of reads of now, and of reads as of an instant, taken in turns: ms."""
    as_of = format_instant(START + timedelta(milliseconds=events // 2))
    queries = ("", f"?as_of={as_of}")
    waits: dict[str, list[float]] = {query: [] for query in queries}
    await answering(port, request(projection, key_of(0), queries[1]))
    for turn in range(-1, TURNS):
        for query in queries:
            found = await send(port, [lane(projection, max(0, turn) * count, count, query)])
            if turn >= 0:  # the first one warms
                waits[query] += found
    return [statistics.median(waits[query]) * 1000 for query in queries]


def main(kind: str, bootstrap: str, redis: str, mesh: str, projection: str, count: int, number: int) -> list[float]:
    """The figures of a server of its own."""
    work = instants if kind == "instants" else read
    names = [projection] if kind == "bare" else app.projections
    server = (
        bare(redis, mesh, projection) if kind == "bare" else mesh_of(bootstrap, redis, mesh, temporal=work is instants)
    )

    async def measure(port: int) -> list[float]:
        await all_there(port, names)
        return await work(port, projection, count, number)

    runner = asyncio.run if work is instants else uvloop.run  # the clock of uvloop's loop knows whole milliseconds only
    with server as port:
        return runner(asyncio.wait_for(measure(port), TURN_SECONDS))


if __name__ == "__main__":
    kind, bootstrap, redis, mesh, projection, count, number = sys.argv[1:]
    figures = main(kind, bootstrap, redis, mesh, projection, int(count), int(number))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
