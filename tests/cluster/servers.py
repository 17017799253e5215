# SPDX-License-Identifier: Apache-2.0
"""Kafka and Redis on this machine, where pods reach them: by the means of `nerv dev`, at the address of the node."""

import asyncio
import os
import secrets
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from nerv.dev import kafka, redis
from nerv.dev.guard import guard, mark
from nerv.dev.ports import Ports
from nerv.dev.processes import stop_together
from nerv.dev.servers import STOP_SECONDS
from nerv.dev.threads import in_thread, threaded
from tests.cluster.kubernetes import ADDRESS
from tests.cluster.phases import Book


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are; Redis asks for the password."""

    kafka: str
    redis: str
    password: str


@asynccontextmanager
async def servers(folder: Path, book: Book) -> AsyncIterator[Servers]:
    """Both, running, with their data in `folder`, which is removed afterwards. Raises Unavailable or Misconfigured."""
    token, password = uuid.uuid4().hex[:12], secrets.token_hex(16)
    environment, ports = mark(os.environ, token), Ports(folder)
    async with threaded(guard(token, remove=[folder])):
        with book.step("Kafka and Redis up"), ThreadPoolExecutor(2) as pool:
            starting = [
                pool.submit(
                    kafka.start, folder / "kafka", environment, log=folder / "kafka.log", ports=ports, host=ADDRESS
                ),
                pool.submit(
                    redis.start,
                    folder / "redis",
                    environment,
                    log=folder / "redis.log",
                    ports=ports,
                    persist=True,
                    host=ADDRESS,
                    password=password,
                ),
            ]
            up = await asyncio.gather(*map(asyncio.wrap_future, starting))
        processes = [server.process for server in up if server.process is not None]
        try:
            where = up[1].address.rpartition("@")[2]
            yield Servers(up[0].address, f"redis://{where}", password)
        finally:
            await in_thread(lambda: stop_together(processes, STOP_SECONDS))
