# SPDX-License-Identifier: Apache-2.0
"""A Redis stream as a wire: a queue between the buses of processes, read by one consumer group."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import suppress
from typing import Any

from google.protobuf.message import DecodeError

from nerv.api.event.v1 import event_pb2
from nerv.cancelling import end
from nerv.cloudevents import from_proto, to_proto
from nerv.errors import Invalid, NervError, Overloaded
from nerv.protocols.wire import Arrived, Place
from nerv.redis import Scripts, mapped
from nerv.redis.connection import Redis
from nerv.types import Description, Event, new_event_id

BATCH = 500
BLOCK_MS = 500  # how long a read waits for entries; well below the client's own time-out
TURN_SECONDS = 0.02  # between two looks of a reader that keeps the order of all
LEASE_MS = 30_000  # an entry whose reader has been silent for so long goes to another
LIMIT = 100_000  # entries in the stream; each is removed when it is done with
GROUP = "bus"
REMEMBERED_SECONDS = 86_400  # how long after its last event a source is remembered


class RedisWire:
    """One stream, each of whose entries goes to one of its readers. Beyond `limit` entries nothing more is taken (Overloaded).

    What is put again, because nobody knew whether it was there, is there once: the script remembers for a day how far each
    source had come. An entry is removed when the next batch is asked for. One whose reader went away comes again after 30 s.
    Redis may lose all of it: what must not be lost goes to a topic.
    """

    def __init__(
        self,
        client: Redis,
        stream: str,
        *,
        reader: str,
        limit: int = LIMIT,
        lease_ms: int = LEASE_MS,
        name: str | None = None,
        ordered: bool = False,
    ) -> None:
        """`reader` names this process, `name` the place in `Event.via` (`stream:` and the key).

        With `ordered` one reader at a time has a batch, and so the order of the stream is kept over all of them.
        `<stream>:refused` keeps the last `limit` entries that were put aside.
        """
        self.stream = stream
        self.name = name or f"stream:{stream}"
        self._ordered = ordered
        self._sender, self._sent = f"{reader}/{new_event_id()}", 0
        self._unsure: list[str] = []  # ids of the last put, while nobody knows what became of it
        self._putting = asyncio.Lock()
        self._client, self._reader, self._limit, self._lease_ms = client, reader, limit, lease_ms
        self._scripts = Scripts(client, "nerv.bus")
        self._in_hand: list[bytes] = []
        self._counters: Counter[str] = Counter()

    async def put(self, events: Sequence[Event[bytes]], places: Sequence[Place] | None = None) -> None:
        """All of them or none."""
        if places is not None:
            await self._put(events, places)
            return
        async with self._putting:
            ids = [event.id for event in events]
            if ids != self._unsure:  # other events than those of a put that failed: they have numbers of their own
                self._unsure, self._sent = ids, self._sent + len(ids)
            first = self._sent - len(ids)
            await self._put(events, [Place(self._sender, first + index) for index in range(len(ids))])
            self._unsure = []

    async def _put(self, events: Sequence[Event[bytes]], places: Sequence[Place]) -> None:
        sources = {
            source: index for index, source in enumerate(dict.fromkeys(place.source for place in places), start=1)
        }
        words: list[str | bytes | int] = [self._limit, REMEMBERED_SECONDS]
        for event, place in zip(events, places, strict=True):
            words += (sources[place.source], place.number, to_proto(event).SerializeToString())
        keys = [self.stream, *(f"{self.stream}:from:{source}" for source in sources)]
        added = await self._scripts("put", keys, words)
        if added < 0:
            raise Overloaded(f"stream {self.stream} holds {self._limit} events that nobody has taken", retry_after=1.0)
        self._counters["put"] += added

    async def take(self) -> AsyncIterator[Sequence[Arrived]]:
        """Batches of at most 500; those in hand stay with this reader while it lives."""
        await self._make_group()
        renewing = asyncio.create_task(self._renew())
        try:
            while True:
                entries = await self._expired() or await self._new()
                self._in_hand = [key for key, _ in entries]
                arrived = [Arrived(event, key) for key, data in entries if (event := await self._event(key, data))]
                if not arrived:
                    continue
                self._counters["taken"] += len(arrived)
                yield arrived
                await self._scripts("done", [self.stream], [GROUP, *self._in_hand])
                self._in_hand = []
        finally:
            self._in_hand = []
            await end(renewing)

    async def refuse(self, arrived: Arrived, cause: str) -> None:
        """To `<stream>:refused`, with the cause."""
        await self._set_aside(arrived.origin, to_proto(arrived.event).SerializeToString(), cause)

    async def _expired(self) -> list[tuple[bytes, bytes]]:
        found = await self._of_group(
            "XAUTOCLAIM", self.stream, GROUP, self._reader, self._lease_ms, "0-0", "COUNT", BATCH
        )
        return _entries(found[1]) if found else []

    async def _new(self) -> list[tuple[bytes, bytes]]:
        if self._ordered:
            found = await self._guarded(self._scripts("next", [self.stream], [GROUP, self._reader, BATCH]))
            if not found:
                await asyncio.sleep(TURN_SECONDS)  # a script cannot wait
            return _read(found)
        found = await self._of_group(
            "XREADGROUP", "GROUP", GROUP, self._reader, "COUNT", BATCH, "BLOCK", BLOCK_MS, "STREAMS", self.stream, ">"
        )
        return _read(found)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            if self._in_hand:
                with suppress(NervError):  # too late is harmless: then it comes twice
                    await self._scripts("renew", [self.stream], [GROUP, self._reader, *self._in_hand])

    async def _event(self, key: bytes, data: bytes) -> Event[bytes] | None:
        try:
            return from_proto(event_pb2.Event.FromString(data))
        except (DecodeError, OverflowError) as error:
            await self._set_aside(key, data, f"not a nerv.api.event.v1.Event: {error}")
            return None

    async def lag(self) -> int:
        """The entries of the stream: what is done with is removed."""
        return int(await self._command("XLEN", self.stream))

    def describe(self) -> Description:
        """The wire as data."""
        return Description("RedisWire", self.stream, (self.stream,), (self.stream,), dict(self._counters))

    async def _set_aside(self, key: bytes, data: bytes, cause: str) -> None:
        self._counters["refused"] += 1
        await self._scripts("refuse", [self.stream, f"{self.stream}:refused"], [GROUP, key, data, cause, self._limit])

    async def _make_group(self) -> None:
        try:
            await self._command("XGROUP", "CREATE", self.stream, GROUP, "0", "MKSTREAM")
        except Invalid as error:
            if "BUSYGROUP" not in error.detail:
                raise

    async def _of_group(self, *words: str | bytes | int) -> Any:
        return await self._guarded(self._command(*words))

    async def _guarded(self, asked: Awaitable[Any]) -> Any:
        try:
            return await asked or []
        except Invalid as error:
            # The second is what a blocked read hears when the stream is deleted under it (Redis 7.0).
            if "NOGROUP" not in error.detail and "UNBLOCKED" not in error.detail:
                raise
            await self._make_group()
            return []

    async def _command(self, *words: str | bytes | int) -> Any:
        with mapped(str(words[0])):
            return await self._client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py types it not


def _read(found: Any) -> list[tuple[bytes, bytes]]:
    """The entries in an answer of XREADGROUP."""
    streams = found.values() if isinstance(found, dict) else [entries for _, entries in found]
    return _entries([entry for part in streams for entry in part])


def _entries(found: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    pairs = []
    for key, fields in found:
        if fields is None:  # deleted since it was delivered
            continue
        named = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
        pairs.append((key, named.get(b"event", b"")))
    return pairs
