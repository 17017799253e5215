# SPDX-License-Identifier: Apache-2.0
"""Readers that follow one mesh through all its faults: subscriptions to streams and to `$all`, and `$all` page by page.

Each goes on from its last token at the other replica after every cut: those that the faults make, and its own.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import count

from nerv.client import Client
from nerv.cloudevents.json_format import from_mapping
from nerv.errors import NervError
from nerv.protocols import Followed
from nerv.types import Event
from tests.faults.temporal.load import LONGEST, Load
from tests.faults.temporal.operations import Course, Log, Seen, Sight

UNCUT = (1.0, 8.0)  # s that a reader leaves a connection standing
PATIENCE = 0.2  # s after a refusal: mostly there is no replica, or a partition has no owner
STREAM_READERS = 3  # of each mesh, at a time
PAGE = 500
PAGE_SECONDS = 10.0
IDLE = 0.2  # s between two looks for a new page
FINISH_SECONDS = 180.0  # for what is missing once nothing more is written


class Reader(ABC):
    """Reads on, with cuts, until its course is over. What it saw and where to go on are one: no await stands between."""

    def __init__(self, clients: Sequence[Client], course: Course, seed: int) -> None:
        self.course = course
        self._clients = clients
        self._turn = seed
        self._at: str | None = None
        self._random = random.Random(seed)  # noqa: S311 - when a cut comes must not be regular

    async def run(self) -> None:
        """Until it is cancelled, or nothing more will come."""
        while not self.over:
            client = self._clients[self._turn % len(self._clients)]
            try:
                async with asyncio.timeout(self._random.uniform(*UNCUT)):
                    await self._read(client)
            except TimeoutError:
                pass
            except NervError:
                await asyncio.sleep(PATIENCE)
            self._turn += 1
            self.course.cuts += not self.over

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return False

    @abstractmethod
    async def _read(self, client: Client) -> None:
        """Read at one replica."""

    async def _follow(self, subscription: AsyncGenerator[Followed, None]) -> None:
        async with aclosing(subscription) as events:
            async for followed in events:
                self._see(followed.event)
                self._at = followed.position
                if self.over:
                    return

    def _see(self, event: Event[bytes]) -> None:
        self.course.sights.append(Sight(event.stream, event.sequence or 0, event.id))


class AllReader(Reader):
    """A subscription to all streams."""

    async def _read(self, client: Client) -> None:
        await self._follow(client.streams.subscribe_category(None, after=self._at))


class StreamReader(Reader):
    """A subscription to one stream, until no more is written to it."""

    @property
    def over(self) -> bool:
        """Whether it is as long as streams become."""
        return len(self.course.sights) >= LONGEST

    async def _read(self, client: Client) -> None:
        await self._follow(client.streams.subscribe(self.course.stream or "", after=self._at))


class PageReader(Reader):
    """All streams, a page after the other: by the token of the last one, or from its position when there was no more."""

    async def _read(self, client: Client) -> None:
        while True:
            query = {
                "limit": PAGE, "after": self._at, "consistency": self._random.choice(["default", "local"]),
            }  # fmt: skip
            answer = await client.transport.request("temporal", "GET", "/v1/streams", query=query, seconds=PAGE_SECONDS)
            page = answer.json()
            for document in page["events"]:
                self._see(from_mapping(document))
            self._at = page["next"] or page["position"]
            if page["next"] is None:
                await asyncio.sleep(IDLE)


class Followers:
    """All readers of one mesh."""

    def __init__(self, clients: Sequence[Client], load: Load, seen: Seen, seed: int) -> None:
        self._clients, self._load, self._seen = clients, load, seen
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._seeds = count(seed)
        self._all: list[Reader] = [self._reader(kind) for kind in (AllReader, AllReader, PageReader)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to read."""
        self._tasks = [asyncio.create_task(reader.run()) for reader in self._all]
        self._tasks += [asyncio.create_task(self._streams()) for _ in range(STREAM_READERS)]

    async def finish(self, log: Log) -> None:
        """When nothing more is written: wait until the readers of everything have seen as much as the log has.

        One that is not done in time is judged as if it were.
        """
        events = sum(map(len, log.values()))
        deadline = time.monotonic() + FINISH_SECONDS
        while any(len(reader.course.sights) < events for reader in self._all) and time.monotonic() < deadline:
            await asyncio.wait(self._tasks, timeout=IDLE, return_when=asyncio.FIRST_EXCEPTION)
            if broken := [task for task in self._tasks if task.done()]:
                broken[0].result()
        for reader in self._all:
            reader.course.complete = True

    async def stop(self) -> None:
        """End, however far they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _streams(self) -> None:
        """One stream after the other, each from its beginning into what comes."""
        while True:
            await self._reader(StreamReader, self._load.some_stream(self._random)).run()

    def _reader(self, kind: type[Reader], stream: str | None = None) -> Reader:
        course = Course(stream)
        self._seen.courses.append(course)
        return kind(self._clients, course, next(self._seeds))
