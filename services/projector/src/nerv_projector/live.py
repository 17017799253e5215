# SPDX-License-Identifier: Apache-2.0
"""Live updates of views: what they are, then what changes, without a gap; a reader that comes back goes on where it was.

The deltas are those of `<mesh>.changes.<projection>.v1`, read from where the topic ended before the views were read. A delta that
does not begin at the version that the reader has is answered by the view as it is. When another version goes live, or the views
are built anew, the reader gets the views again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson

from nerv.errors import Invalid, NervError, Overloaded, Unavailable
from nerv.kafka import BatchConsumer, KafkaSettings
from nerv.protocols.views import Epoch, View
from nerv_projector import reading
from nerv_projector.runner import Runner
from nerv_projector.watermarks import Bounds, Watermarks

KEYS = 100  # that one reader may follow
HEARTBEAT_SECONDS = 5.0  # of silence; then the position is said
LOOK_SECONDS = 0.5  # how often a reader's epoch is held against the live one
SETTLE_SECONDS = 3.0  # after a switch, until every replica has heard of it and tells what it folds
WRITTEN_SECONDS = 10.0  # a delta is in Kafka before its view is in Redis; so long may that take

Partition = tuple[str, int]
Show = Callable[[str, View], bytes]
Runners = Callable[[], Runner]


@dataclass(slots=True)
class Reader:
    """What one reader follows, and the version of each view that it has."""

    keys: Sequence[str]
    show: Show
    deltas: bool  # or, in a perspective, the view each time
    epoch: Epoch
    has: dict[str, int] = field(default_factory=dict)
    offsets: dict[Partition, int] = field(default_factory=dict)

    def token(self) -> str:
        """Where it is: the epoch, and the next offset of each partition."""
        return f"{self.epoch.token}|" + ",".join(f"{p}:{o}" for (_, p), o in sorted(self.offsets.items()))


class Live:
    """Streams of changes, bounded in number; each has a consumer of its own."""

    def __init__(
        self,
        kafka: KafkaSettings,
        client_id: str,
        watermarks: Watermarks,
        closing: Callable[[], asyncio.Event],
        most: int,
    ) -> None:
        self._kafka, self._client_id, self._watermarks = kafka, f"{client_id}-live", watermarks
        self._closing, self._most = closing, most
        self._open = 0

    def follow(
        self, runner: Runners, keys: Sequence[str], show: Show, *, deltas: bool, last: str | None
    ) -> AsyncIterator[bytes]:
        """Server-sent events. Raises Overloaded, Unavailable or Invalid at once, not later."""
        if self._open >= self._most:
            raise Overloaded(
                f"{self._open} readers follow views, the most allowed (NERV_PROJECTOR__FOLLOWERS)", retry_after=5.0
            )
        epoch = runner().epoch
        if epoch is None:
            raise Unavailable(f"projection {runner().name} has not started yet", retry_after=0.5)
        return self._send(runner, Reader(keys, show, deltas, epoch), _offsets(last, epoch))

    async def _send(self, runner: Runners, reader: Reader, after: Mapping[int, int] | None) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            topic = runner().hosted.changes
            bounds = await self._watermarks.bounds(topic)
            if after is not None and not holds(bounds, after):
                after = None
            ends = {p: high for p, (_, high) in bounds.items()}
            starts = {(topic, p): ends[p] if after is None else after[p] for p in ends}
            reader.offsets = dict(starts)
            async with self._batches(starts) as batches:
                if after is None:
                    async for piece in _snapshot(runner(), reader):
                        yield piece
                async for piece in self._changes(runner, reader, batches):
                    yield piece
        except NervError as error:
            yield _event("error", orjson.dumps(error.problem()))
        finally:
            self._open -= 1

    @asynccontextmanager
    async def _batches(self, starts: Mapping[Partition, int]) -> AsyncIterator["asyncio.Queue[object]"]:
        """A queue of batches: waiting for one may be given up without losing it."""
        found: asyncio.Queue[object] = asyncio.Queue(1)

        async def read(consumer: BatchConsumer) -> None:
            try:
                async for records in consumer.batches():
                    await found.put(records)
            except NervError as error:
                await found.put(error)

        name = f"{self._client_id}-{id(found):x}"
        async with BatchConsumer(
            self._kafka, name, f"{name}", assign=dict(starts), reset="latest", eager=True
        ) as consumer:
            task = asyncio.create_task(read(consumer), name=name)
            try:
                yield found
            finally:
                task.cancel()

    async def _changes(self, runner: Runners, reader: Reader, batches: "asyncio.Queue[object]") -> AsyncIterator[bytes]:
        clock = asyncio.get_running_loop().time
        said, again = clock(), 0.0
        while not self._closing().is_set():
            live = runner()
            moved = live.epoch is not None and live.epoch != reader.epoch
            if live.epoch is not None and (moved or (again and clock() > again)):
                again = clock() + SETTLE_SECONDS if moved else 0.0
                reader.epoch = live.epoch
                async for piece in _snapshot(live, reader):
                    yield piece
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    records = await batches.get()
            except TimeoutError:
                if clock() - said > HEARTBEAT_SECONDS:
                    said = clock()
                    yield f"id: {reader.token()}\n\n".encode()
                continue
            if isinstance(records, NervError):
                raise records
            for record in records:  # type: ignore[attr-defined]  # of the consumer
                reader.offsets[record.topic(), record.partition()] = record.offset() + 1
                key = (record.key() or b"").decode()
                if key in reader.keys:
                    for piece in await _change(live, reader, key, record.value() or b"{}"):
                        said = clock()
                        yield piece


async def _snapshot(runner: Runner, reader: Reader) -> AsyncIterator[bytes]:
    """The views as they are; of one that is not there, that it is not."""
    found = await runner.hosted.views.load(reader.epoch, reader.keys)
    for key in reader.keys:
        view = found.get(key)
        reader.has[key] = 0 if view is None else view.version
        yield _view(reader, key, view)


async def _change(runner: Runner, reader: Reader, key: str, value: bytes) -> list[bytes]:
    """What a delta comes to for this reader."""
    delta = orjson.loads(value)
    if delta["epoch"] != reader.epoch.token or delta["to_version"] <= reader.has.get(key, -1):
        return []  # of views that are not live, or older than what the reader has
    follows = delta["from_version"] == reader.has.get(key, delta["from_version"])
    if follows and reader.deltas:
        reader.has[key] = delta["to_version"]
        return [_event("delta", value, reader.token())]
    view = await _written(runner, reader, key, delta["to_version"])
    reader.has[key] = view.version
    return [_view(reader, key, view)]


async def _written(runner: Runner, reader: Reader, key: str, version: int) -> View:
    """The view, once the delta that led there is in it."""
    try:
        async with asyncio.timeout(WRITTEN_SECONDS):
            while True:
                found = (await runner.hosted.views.load(reader.epoch, [key])).get(key)
                if found is not None and found.version >= version:
                    return found
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise Unavailable(f"the view of {key!r} does not come to version {version}", retry_after=1.0) from None


def _view(reader: Reader, key: str, view: View | None) -> bytes:
    if view is None or not reading.is_there(view):
        gone = {"key": key, "epoch": reader.epoch.token, "version": 0 if view is None else view.version, "state": None}
        return _event("gone", orjson.dumps(gone), reader.token())
    return _event("view", reader.show(key, view), reader.token())


def _event(kind: str, data: bytes, token: str | None = None) -> bytes:
    position = b"" if token is None else f"id: {token}\n".encode()
    return b"event: %b\n%bdata: %b\n\n" % (kind.encode(), position, data)


def holds(bounds: Mapping[int, Bounds], after: Mapping[int, int]) -> bool:
    """Whether a topic still has all that came after these offsets; otherwise changes would be passed over unseen."""
    return all(low <= after.get(partition, -1) <= high for partition, (low, high) in bounds.items())


def _offsets(last: str | None, epoch: Epoch) -> dict[int, int] | None:
    """Where a reader that comes back goes on; None where it has to begin with the views."""
    if last is None:
        return None
    token, _, offsets = last.partition("|")
    if token != epoch.token:
        return None
    try:
        pairs = (part.partition(":") for part in offsets.split(","))
        return {int(partition): int(offset) for partition, _, offset in pairs}
    except ValueError:
        raise Invalid("last-event-id must be the id of an event of this stream") from None
