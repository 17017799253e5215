# SPDX-License-Identifier: Apache-2.0
"""Clients of one mesh that append and read, and write down what they see: over HTTP to either replica, and over Kafka."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from urllib.parse import quote

from nerv.api.event.v1 import event_pb2
from nerv.client import Client, Commands
from nerv.client.streams import PROTOBUF
from nerv.cloudevents.proto_format import to_us
from nerv.errors import NervError, NotFound, Refused, Unavailable, VersionConflict
from nerv.kafka import partition_of
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv.types import Event, format_instant, new_event_id, utc_now
from tests.faults.temporal.operations import NEVER, Append, End, Forgery, Kind, Read, Seen, digest

LANES = 12  # of each mesh, as many for each partition: those of a partition that has no owner do not keep the others
REQUESTS = 6  # in a message, each for another stream
STREAMS = 8  # written at a time in a partition
LONGEST = 150  # events of a stream, then another one begins: a read is of a whole stream
APPEND_SECONDS = 20.0
READ_SECONDS = 20.0
PROBE_SECONDS = 60.0
PAUSE = 0.02  # s between two messages of a lane: both cores are the servers' as well

Send = Callable[[Sequence[AppendRequest]], Awaitable[list[AppendOutcome]]]


@dataclass(slots=True)
class Stream:
    """A stream that is written to, as far as the clients know."""

    name: str
    version: int = 0
    last: AppendRequest | None = None
    oldest: AppendRequest | None = None


class Load:
    """The clients of one mesh."""

    def __init__(
        self, clients: Sequence[Client], commands: Commands, seen: Seen, *, partitions: int, seed: int
    ) -> None:
        self.in_flight = 0
        self.acknowledged = 0
        self.seen = seen
        self.stop = asyncio.Event()
        self._clients = clients
        self._commands = commands
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._probes = _one_in_each_partition(partitions)
        self._partitions = partitions
        self._streams = [[self._fresh(partition) for _ in range(STREAMS)] for partition in range(partitions)]
        self._least: dict[tuple[int, str], int] = defaultdict(int)  # of each client, for a token is a client's own

    async def run(self) -> None:
        """All lanes, until `stop`."""
        async with asyncio.TaskGroup() as group:
            for number in range(LANES):
                group.create_task(self._lane(number))

    def some_stream(self, choice: random.Random) -> str:
        """A stream that is written now."""
        return choice.choice(choice.choice(self._streams)).name

    async def progressed(self, count: int, seconds: float = 120.0) -> None:
        """Until so many more appends are acknowledged."""
        goal = self.acknowledged + count
        async with asyncio.timeout(seconds):
            while self.acknowledged < goal and not self.stop.is_set():  # noqa: ASYNC110 - the lanes are plain loops
                await asyncio.sleep(0.01)

    async def busy(self, least: int, seconds: float = 2.0) -> None:
        """Until so many appends are in flight, or time is up: a fault that hits none shows nothing."""
        deadline = time.monotonic() + seconds
        while self.in_flight < least and time.monotonic() < deadline:  # noqa: ASYNC110 - the lanes are plain loops
            await asyncio.sleep(0.001)

    async def writable(self, client: Client) -> float:
        """When every partition has taken an append that was sent after the call: an instant of `time.monotonic`."""
        probes = [self._probe(client, stream) for stream in self._probes]
        return max(await asyncio.gather(*probes))

    async def _probe(self, client: Client, name: str) -> float:
        stream = Stream(name)
        request = AppendRequest(name, [_event()])
        invoked = time.monotonic()
        [outcome] = await client.streams.append([request], seconds=PROBE_SECONDS)
        self._note(stream, request, outcome, invoked, time.monotonic())
        return time.monotonic()

    def _fresh(self, partition: int) -> Stream:
        while True:
            name = f"account-{new_event_id()}"
            if partition_of(name, self._partitions) == partition:
                return Stream(name)

    async def _lane(self, number: int) -> None:
        partition, way = number % self._partitions, number // self._partitions
        over_kafka = way == len(self._clients)  # the other lanes of a partition each ask another replica
        who = 0 if over_kafka else way
        while not self.stop.is_set():
            await self._write(who, over_kafka, self._streams[partition])
            reader = self._random.randrange(len(self._clients)) if over_kafka else who
            await self._read(reader, self._streams[partition])
            await asyncio.sleep(PAUSE)

    async def _write(self, who: int, over_kafka: bool, active: list[Stream]) -> None:
        streams = self._random.sample(active, REQUESTS)
        requests = [self._request(stream) for stream in streams]
        invoked = time.monotonic()
        self.in_flight += len(requests)
        try:
            if over_kafka:
                outcomes = await self._commands.append(requests, seconds=APPEND_SECONDS)
            else:
                outcomes = await self._clients[who].streams.append(requests, seconds=APPEND_SECONDS)
        except NervError as error:
            outcomes = [error] * len(requests)
        finally:
            self.in_flight -= len(requests)
        completed = time.monotonic()
        for stream, request, outcome in zip(streams, requests, outcomes, strict=True):
            if isinstance(outcome, Appended):
                self._least[who, stream.name] = max(self._least[who, stream.name], outcome.last_version)
            self._note(stream, request, outcome, invoked, completed)
            if stream.version >= LONGEST and stream in active:
                active[active.index(stream)] = self._fresh(partition_of(stream.name, self._partitions))

    def _request(self, stream: Stream) -> AppendRequest:
        kind = self._random.random()
        if kind < 0.08 and stream.last is not None:
            return self._random.choice([stream.last, stream.oldest or stream.last])  # a repeat must change nothing
        if kind < 0.10 and stream.oldest is not None and stream.oldest.events[0].data != b"{}":
            forged = replace(stream.oldest.events[0], data=b'{"account":"forged","amount":1}')
            return AppendRequest(stream.name, [forged])
        events = [_event() for _ in range(self._random.choice([1, 1, 1, 1, 2, 3]))]
        exact = Expected(Expect.EXACT, stream.version)
        expected = self._random.choice([exact, exact, exact, Expected(), Expected(), Expected(Expect.EXISTS)])
        if kind > 0.97:
            expected = Expected(Expect.NONE)
        return AppendRequest(stream.name, events, expected)

    def _note(
        self, stream: Stream, request: AppendRequest, outcome: AppendOutcome, invoked: float, completed: float
    ) -> None:
        ids = tuple(event.id for event in request.events)
        if b"forged" in request.events[0].data:
            self.seen.forgeries.append(Forgery(stream.name, ids[0], isinstance(outcome, Appended)))
            return
        end, version, duplicate = ended(outcome)
        if end is End.UNKNOWN:
            completed = NEVER
        if end is End.DONE and isinstance(outcome, Appended):
            self.acknowledged += 1
            stream.oldest = stream.oldest or request
        if end is not End.REFUSED:
            stream.last = request
        stream.version = max(stream.version, outcome.last_version if isinstance(outcome, Appended) else version)
        self.seen.appends.append(
            Append(request.stream, ids, request.expected, invoked, completed, end, version, duplicate)
        )

    async def _read(self, who: int, active: list[Stream]) -> None:
        client = self._clients[who]
        stream = self._random.choice(active).name
        kind = self._random.choice([Kind.DEFAULT, Kind.DEFAULT, Kind.STRONG, Kind.KNOWN])
        known = utc_now()
        query: dict[str, str | int | None] = {"limit": 1000}
        least = 0
        if kind is Kind.STRONG:
            query["consistency"] = "strong"
        elif kind is Kind.KNOWN:
            query["known_at"] = format_instant(known)
        else:
            least = self._least[who, stream]
            query |= client.streams.positions.params()
        invoked = time.monotonic()
        path = f"/v1/streams/{quote(stream, safe='')}/events"
        try:
            answer = await client.transport.request(
                "temporal", "GET", path, query=query, headers={"accept": PROTOBUF}, seconds=READ_SECONDS
            )
            ids = [event.id for event in event_pb2.EventBatch.FromString(answer.body).events]
        except NotFound:
            ids = []
        except NervError:
            return  # a read that is not answered tells nothing
        completed = time.monotonic()
        self.seen.reads.append(Read(stream, kind, invoked, completed, len(ids), digest(ids), least, to_us(known)))


def ended(outcome: AppendOutcome) -> tuple[End, int, bool]:
    """How an append ended, the version that was told, and whether it was a repeat."""
    if isinstance(outcome, Appended):
        return End.DONE, outcome.first_version, outcome.duplicate
    if isinstance(outcome, VersionConflict):
        return End.CONFLICT, int(outcome.errors[0]["version"]), False
    # What is not surely refused, or surely not done, is unknown.
    return End.REFUSED if isinstance(outcome, Refused | Unavailable) else End.UNKNOWN, 0, False


def _one_in_each_partition(partitions: int) -> list[str]:
    found: dict[int, str] = {}
    for number in count():
        name = f"account-probe{number}"
        found.setdefault(partition_of(name, partitions), name)
        if len(found) == partitions:
            return list(found.values())
    raise AssertionError


def _event() -> Event[bytes]:
    return Event(new_event_id(), "faults", "account.deposited.v1", utc_now(), b'{"account":"a","amount":1}')
