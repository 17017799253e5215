# SPDX-License-Identifier: Apache-2.0
"""Publishers and subscribers of one topic, over HTTP to either replica, that write down what they see."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

import orjson

from nerv.client import Client
from nerv.client.topics import Published
from nerv.cloudevents.http_binding import BATCH
from nerv.cloudevents.json_format import to_structured
from nerv.errors import NervError, Refused, Unavailable, from_problem
from nerv.types import Event, new_event_id, utc_now
from tests.faults.broker.publishing.operations import Course, End, Entry, Forgery, Polled, Seen, Sent

LANES = 12  # publishers, each with keys of its own
SUBSCRIBERS, SLOW = 3, 1  # of which so many are slow
BY_KEY = 0.25  # of the requests that have an Idempotency-Key, and new ids each time that they are sent
REMEMBERED = 50  # requests of a lane that may be repeated, or forged
REQUEST_SECONDS = 20.0
UNTIL_KNOWN_SECONDS = 180.0
PAUSE, AFTER_REFUSAL = 0.01, 0.2  # s: both cores are the servers' as well
SLOW_SECONDS = 0.1  # that a slow subscriber takes for an event: 1 % of the speed at which others take them
HASTE = 0.03  # s after which a client that goes away has gone


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: events of one key, with the numbers that they carry.

    One that has an `idempotency_key` is known by it: whoever repeats it makes the ids anew, and its events are called by their
    correlation id.
    """

    key: str
    events: Sequence[Event[bytes]]
    idempotency_key: str | None = None

    def body(self) -> bytes:
        """As a batch."""
        events = self.events
        if self.idempotency_key is not None:
            events = [replace(event, id=new_event_id(), correlation_id=event.id) for event in events]
        return orjson.dumps([to_structured(event) for event in events])

    @property
    def headers(self) -> dict[str, str]:
        """Of the request."""
        named = {} if self.idempotency_key is None else {"idempotency-key": self.idempotency_key}
        return {"content-type": BATCH} | named


class Load:
    """The clients of one mesh. Each lane sends a request of a key until its outcome is known, before it sends the next."""

    def __init__(self, clients: Sequence[Client], topic: str, seen: Seen, seed: int) -> None:
        self.in_flight = 0
        self.acknowledged = 0
        self.running = False
        self.stop = asyncio.Event()
        self.hasty = 0.0  # share of the requests whose client goes away
        self._clients, self._topic, self._seen = clients, topic, seen
        self._path = f"/v1/topics/{quote(topic, safe='')}/events"
        self._random = random.Random(seed)  # noqa: S311 - when a client goes away must not be regular
        self._turn = seed

    async def run(self) -> None:
        """All lanes, until `stop`; then what they have in hand is seen through."""
        self.running = True
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(LANES):
                    group.create_task(self._lane(number))
        finally:
            self.running = False

    async def progressed(self, count: int, seconds: float = 120.0) -> None:
        """Until so many more events are acknowledged."""
        goal = self.acknowledged + count
        async with asyncio.timeout(seconds):
            while self.acknowledged < goal and not self.stop.is_set():  # noqa: ASYNC110 - the lanes are plain loops
                await asyncio.sleep(0.01)

    async def busy(self, least: int, seconds: float = 2.0) -> None:
        """Until so many events are in flight, or time is up: a fault that hits none shows nothing."""
        deadline = time.monotonic() + seconds
        while self.in_flight < least and time.monotonic() < deadline:  # noqa: ASYNC110 - the lanes are plain loops
            await asyncio.sleep(0.001)

    async def _lane(self, lane: int) -> None:
        keys, number = [f"{lane}-{n}" for n in range(4)], 0
        done: list[Asked] = []
        while not self.stop.is_set():
            kind = self._random.random()
            if kind < 0.1 and done:
                await self._until_known(self._random.choice(done))  # a repeat must change nothing
            elif kind < 0.13 and done:
                await self._forge(self._random.choice(done))
            else:
                count = self._random.choice([1, 1, 1, 2, 5])
                key = self._random.choice(keys)
                named = new_event_id() if self._random.random() < BY_KEY else None
                asked = Asked(key, [_event(key, number + n) for n in range(count)], named)
                number += count
                if await self._until_known(asked):
                    done = [*done[1 - REMEMBERED :], asked]
            await asyncio.sleep(PAUSE)

    async def _until_known(self, asked: Asked) -> bool:
        """Send, and send again to the other replica while it is not known to be done."""
        deadline = time.monotonic() + UNTIL_KNOWN_SECONDS
        while time.monotonic() < deadline:
            if await self._send(asked):
                return True
            await asyncio.sleep(AFTER_REFUSAL)
        return False

    async def _send(self, asked: Asked) -> bool:
        self._turn += 1
        self.in_flight += len(asked.events)
        sending = asyncio.create_task(self._request(self._clients[self._turn % len(self._clients)], asked))
        try:
            if self._random.random() < self.hasty:
                await asyncio.wait({sending}, timeout=self._random.uniform(0.0, HASTE))
                self._seen.cancelled += sending.cancel()
            await asyncio.wait({sending})
        finally:
            self.in_flight -= len(asked.events)
        outcomes = [End.UNKNOWN] * len(asked.events) if sending.cancelled() else sending.result()
        self._note(asked, outcomes)
        return all(isinstance(one, Published) for one in outcomes)

    async def _request(self, client: Client, asked: Asked) -> Sequence[Published | End]:
        try:
            answer = await client.transport.attempt(
                "broker", "POST", self._path, None, asked.body(), asked.headers, REQUEST_SECONDS
            )
        except NervError as error:
            return ended(error, len(asked.events))
        return [Published.of(told) for told in answer.json()["events"]]

    def _note(self, asked: Asked, outcomes: Sequence[Published | End]) -> None:
        for event, outcome in zip(asked.events, outcomes, strict=True):
            what = (event.id, asked.key, int(event.data))
            if isinstance(outcome, End):
                self._seen.note(Sent(*what, outcome))
                continue
            self.acknowledged += 1
            self._seen.note(Sent(*what, End.DONE, (outcome.partition, outcome.offset), outcome.duplicate))

    async def _forge(self, asked: Asked) -> None:
        event = replace(asked.events[0], data=b"-1")
        [outcome] = await self._request(self._clients[0], Asked(asked.key, [event], asked.idempotency_key))
        self._seen.forgeries.append(Forgery(event.id, isinstance(outcome, Published)))


def ended(error: NervError, count: int) -> "list[Published | End]":
    """How each of so many events ended that were answered with an error: by what it tells of each, if it does."""
    told = error.errors if len(error.errors) == count and all("id" in one for one in error.errors) else None
    if told is None:
        return [_end(error)] * count
    return [Published.of(dict(one)) if "offset" in one else _end(_named(one["error"])) for one in told]


def _named(name: str) -> NervError:
    return from_problem({"type": f"urn:nerv:problem:{name}"}, 500)


def _end(error: NervError) -> End:
    # What is not surely refused, or surely not done, is unknown.
    return End.REFUSED if isinstance(error, Refused | Unavailable) else End.UNKNOWN


class Subscriber:
    """Follows the topic over HTTP from its beginning, at whichever replica is there, without a gap and without a double.

    One that is `slow` takes its time for each event, so that the broker cannot send, until it is told to `hurry`.
    """

    def __init__(self, client: Client, topic: str, partitions: int, course: Course, *, slow: bool = False) -> None:
        self.course = course
        self._slow = slow
        self._client, self._topic, self._partitions = client, topic, partitions

    async def run(self) -> None:
        """Until it is cancelled."""
        at = dict.fromkeys(range(self._partitions), 0)
        while True:
            start = ",".join([*(f"{partition}:{offset}" for partition, offset in at.items()), "*"])
            try:
                async for one in self._client.topics.consume(self._topic, start):
                    self.course.polls.append(
                        Polled((one.partition, one.offset), one.event.correlation_id or one.event.id)
                    )
                    at[one.partition] = one.offset + 1
                    if self._slow:
                        await asyncio.sleep(SLOW_SECONDS)
            except NervError:
                await asyncio.sleep(AFTER_REFUSAL)

    def hurry(self) -> None:
        """Take what comes as fast as the others from now on."""
        self._slow = False

    async def finished(self, log: Sequence[Entry], seconds: float) -> None:
        """Until it has got what the log has, or time is up: the rules say what is missing."""
        wanted = {entry.place for entry in log}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if wanted <= {poll.place for poll in self.course.polls}:
                return
            await asyncio.sleep(0.5)


def _event(key: str, number: int) -> Event[bytes]:
    return Event(new_event_id(), "faults", "thing.counted.v1", utc_now(), b"%d" % number, subject=key)
