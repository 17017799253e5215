# SPDX-License-Identifier: Apache-2.0
"""A server that is killed and comes back, on the same port and with the same data."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from nerv.dev import kafka as kafka_server
from nerv.dev import redis as redis_server
from nerv.dev.guard import guard, mark
from nerv.dev.ports import Ports
from nerv.dev.processes import Process, stop_together
from nerv.dev.starting import Server, wait_ready
from nerv.dev.threads import threaded
from nerv.errors import Unavailable
from nerv.kafka import admin
from nerv.redis import connection

START_SECONDS = 60.0
STARTS = 3  # somebody may have its port for a moment, and all clients ask for it at once
STOP_SECONDS = 10.0


class Standing:
    """One server of ours. `answers(address, seconds)` returns when it can be used, and raises Unavailable otherwise."""

    def __init__(self, server: Server, answers: Callable[[str, float], None]) -> None:
        if server.process is None:
            raise Unavailable("a server that is not ours cannot be killed")
        self.address, self._process, self._answers = server.address, server.process, answers

    async def kill(self, away: float = 0.0) -> None:
        """SIGKILL, and a new process `away` seconds later; returns when that answers."""
        await asyncio.to_thread(self._process.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(self._again)

    def stop(self) -> None:
        """End it."""
        stop_together([self._process], STOP_SECONDS)

    def _again(self) -> None:
        port = int(self.address.rpartition(":")[2].partition("/")[0])
        for left in reversed(range(STARTS)):
            self._process = Process(self._process.command)
            try:
                wait_ready(self._process, port, lambda seconds: self._answers(self.address, seconds), START_SECONDS)
            except Unavailable:
                if not left:
                    raise
            else:
                return


@asynccontextmanager
async def standing() -> AsyncIterator[tuple[Standing, Standing]]:
    """Kafka, and Redis with its append-only file; their data are removed afterwards."""
    token = uuid.uuid4().hex[:12]
    with tempfile.TemporaryDirectory(prefix="nerv-faults-") as name:
        folder, environment = Path(name), mark(os.environ, token)
        ports = Ports(folder)
        async with threaded(guard(token)):
            kafka = await asyncio.to_thread(
                lambda: Standing(
                    kafka_server.start(folder / "kafka", environment, log=folder / "kafka.log", ports=ports),
                    admin.wait_ready,
                )
            )
            try:
                redis = await asyncio.to_thread(
                    lambda: Standing(
                        redis_server.start(
                            folder / "redis", environment, log=folder / "redis.log", ports=ports, persist=True
                        ),
                        connection.wait_ready,
                    )
                )
                try:
                    yield kafka, redis
                finally:
                    await asyncio.to_thread(redis.stop)
            finally:
                await asyncio.to_thread(kafka.stop)
