# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP TOPIC PARTITIONS PORT`: a bare handler on the server that ours runs on. It writes the body it gets as one record,
in the same transactions: two producers a partition in turn, all that waits in one. It checks nothing, and remembers nothing.
"""

import asyncio
import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import orjson
import uvicorn
import uvloop
from confluent_kafka import Producer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.broker.records import COLLECTOR

HEADERS = [("ce_specversion", b"1.0"), ("ce_source", b"bench"), ("ce_type", b"counter.counted.v1")]


class Partition:
    """Commits all that waits, as one transaction after the other."""

    def __init__(self, bootstrap: str, topic: str, number: int) -> None:
        self._topic, self._number = topic, number
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)
        self._producers = [self._producer(bootstrap, name) for name in "ab"]

    def _producer(self, bootstrap: str, name: str) -> Producer:
        made = Producer(
            {"bootstrap.servers": bootstrap, "transactional.id": f"{self._topic}/{self._number}/{name}", "linger.ms": 5}
        )
        made.init_transactions(15.0)
        return made

    async def run(self) -> None:
        """Serve for ever."""
        turn = 0
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            taken, self._waiting = self._waiting, []
            bodies = [body for body, _ in taken]
            await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, self._producers[turn], bodies)
            turn ^= 1
            for _, future in taken:
                future.set_result(None)

    def _commit(self, producer: Producer, bodies: list[bytes]) -> None:
        producer.begin_transaction()
        for body in bodies:
            producer.produce(self._topic, body, b"key", self._number, headers=HEADERS)
        producer.commit_transaction(10.0)

    async def write(self, body: bytes) -> None:
        """Return once it is committed."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, future))
        self._arrived.set()
        await future


async def main(bootstrap: str, topic: str, count: int, port: int) -> None:
    """Serve until it is ended."""
    partitions = [Partition(bootstrap, topic, number) for number in range(count)]
    running = [asyncio.create_task(partition.run()) for partition in partitions]

    async def handle(request: Request) -> Response:
        body = await request.body()
        event = orjson.loads(body)
        stream: str = request.path_params["stream"]
        await partitions[hash(stream) % count].write(orjson.dumps(event["data"]))
        return Response(orjson.dumps({"stream": stream, "id": event["id"]}), 201, media_type="application/json")

    app = Starlette(routes=[Route("/v1/streams/{stream:path}/events", handle, methods=["POST"])])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off", server_header=False,
        date_header=False,
    )  # fmt: skip
    await uvicorn.Server(config).serve()
    for task in running:
        task.cancel()


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
