# SPDX-License-Identifier: Apache-2.0
"""The mesh under the Prometheus: all services, an app in which much can go wrong, and a little traffic all the while."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nerv.cancelling import end
from nerv.client import Client
from nerv.dev.mesh import LocalMesh
from nerv.errors import NervError
from nerv.types import Event, new_event_id, utc_now

APPS = Path(__file__).parent.parent / "apps"
TOPIC, PROJECTION, SYNC = "faulty.thing.v1", "things", "items"
EVERY_SECONDS = 0.25
ASK_SECONDS = 3.0
SETTINGS = {"NERV_SCHEDULER__CONCURRENCY": "2"}


def noted(thing: str, number: int) -> Event[bytes]:
    """An event of the app."""
    data = json.dumps({"thing": thing, "number": number}).encode()
    return Event(new_event_id(), "alerts", "thing.noted.v1", utc_now(), data)


@dataclass(slots=True)
class Stage:
    """The mesh, how to ask it, and the folder where the app waits for files."""

    mesh: LocalMesh
    client: Client
    folder: Path

    async def publish(self, events: Sequence[Event[bytes]]) -> None:
        """To the app's topic."""
        await self.client.topics.publish(TOPIC, events)

    @contextmanager
    def stopped(self, server: str) -> Iterator[None]:
        """Kafka or Redis stands still while the block runs; nobody hears that it is away."""
        pid: int = self.mesh.context["pids"][server]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    async def traffic(self) -> None:
        """An event and a look at a view, again and again, whatever comes of it."""
        under_way: set[asyncio.Task[None]] = set()
        try:
            for number in itertools.count():
                if len(under_way) < 2 * len(self.mesh.services):  # while something is away each takes its time
                    task = asyncio.create_task(self._once(number))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            for task in list(under_way):
                await end(task)

    async def _once(self, number: int) -> None:
        with suppress(NervError, TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                await self.publish([noted(f"t{number % 10}", 20 + number)])
        with suppress(NervError, TimeoutError):
            async with asyncio.timeout(4 * ASK_SECONDS):
                await self.client.views.get(PROJECTION, f"t{number % 10}")


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """The mesh with a Kafka and a Redis of its own, and its traffic."""
    env = {**SETTINGS, "PYTHONPATH": str(APPS), "FAULTY_FOLDER": str(folder)}
    mesh = LocalMesh(app="faulty:app", folder=folder / "mesh", kafka=None, redis=None, env=env)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(mesh)
        urls = {name: entry["url"] for name, entry in mesh.context["services"].items()}
        stage = Stage(mesh, await stack.enter_async_context(Client(urls)), folder)
        stack.push_async_callback(end, asyncio.create_task(stage.traffic()))
        yield stage
