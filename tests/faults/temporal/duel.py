# SPDX-License-Identifier: Apache-2.0
"""Two replicas in one process over a real Kafka, taken through what a live run meets only by luck, step by step.

The owners, writers, tails and indexes are those of the service; what is added stands at three seams: a gate before the
tail (a replica that has stopped reading), a commit that dies, fails or whose reply is lost, and a clock that is off.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nerv.app import App
from nerv.clock import SystemClock
from nerv.cloudevents.proto_format import to_us
from nerv.errors import NervError
from nerv.kafka import CommitFailed, FencedWriter, KafkaSettings, Outgoing, Received
from nerv.kafka.admin import Admin
from nerv.protocols import AppendRequest, Expected, ReadQuery
from nerv.service.settings import HttpSettings
from nerv.topics import of_mesh
from nerv.types import Event, new_event_id, utc_now
from nerv_temporal.index import Index
from nerv_temporal.owner import PartitionOwner
from nerv_temporal.positions import parse_whole_position
from nerv_temporal.reads import LogReader
from nerv_temporal.settings import TemporalSettings, TickSettings
from nerv_temporal.tail import Tail
from tests.faults.temporal.load import ended
from tests.faults.temporal.operations import NEVER, Append, Course, End, Kind, Read, Seen, Sight, digest

ANSWER_SECONDS = 4.0
SERVING_SECONDS = 30.0
STREAM = "account-duel"
ANY = Expected()


class Fault(Enum):
    """What becomes of the next commit."""

    DIES = "the process dies before it"
    FAILS = "it is never sent"
    REPLY_LOST = "it is done, and nobody says so"


class Died(Exception):
    """The end of an owner, as by kill -9: it answers nobody and tries nothing more."""


class DuelWriter(FencedWriter):
    """A writer whose next commit may go wrong."""

    fault: Fault | None = None

    async def commit(self, records: Sequence[Outgoing], **more: Any) -> int:
        """Commit, or what the fault says."""
        fault, self.fault = self.fault, None
        if fault is Fault.DIES:
            raise Died
        if fault is Fault.FAILS:
            raise CommitFailed("the connection broke before anything was sent")
        last = await super().commit(records, **more)
        if fault is Fault.REPLY_LOST:
            raise CommitFailed("the reply did not come")
        return last


class DuelOwner(PartitionOwner):
    """An owner whose writer can be told what goes wrong next."""

    writer_class: type[DuelWriter] = DuelWriter
    writer: DuelWriter

    def _writer(self) -> FencedWriter:
        settings = self._settings
        name = f"{settings.instance}-{self.partition}"
        self.writer = self.writer_class(settings.kafka, settings.history, self.partition, name)
        return self.writer


class GatedTail(Tail):
    """A tail that can be held up."""

    gate: asyncio.Event

    async def _take(self, batch: Sequence[Received]) -> list[int]:
        await self.gate.wait()
        return await super()._take(batch)


class _Clock(SystemClock):
    def __init__(self, skew: float) -> None:
        self._skew = timedelta(seconds=skew)

    def now(self) -> datetime:
        return super().now() + self._skew


class Side:
    """One of the two replicas. Use as `async with`."""

    def __init__(
        self, name: str, mesh: str, kafka: KafkaSettings, folder: Path, seen: Seen, *,
        index: type[Index] = Index, skew: float = 0.0,
    ) -> None:  # fmt: skip
        self.settings = TemporalSettings(
            mesh=mesh,
            kafka=kafka,
            instance=name,
            partitions=1,
            http=HttpSettings(advertise=f"http://{name}"),
            temporal=TickSettings(answer_seconds=ANSWER_SECONDS),
        )
        self.clock = _Clock(skew)
        self.seen = seen
        self._folder, self._index_class = folder / name, index
        self._owners: list[DuelOwner] = []

    async def __aenter__(self) -> Self:
        topic = await asyncio.to_thread(Admin(self.settings.kafka, "duel").state_of, self.settings.history)
        self.index = self._index_class(self._folder, topic.id)
        self.tail = GatedTail(self.settings.kafka, self.settings.instance, self.settings.history, 1, self.index)
        self.tail.gate = asyncio.Event()
        self.tail.gate.set()
        await self.tail.__aenter__()
        await self.tail.catch_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tail.gate.set()
        if self.tail.crashed is not None and self.tail.crashed.done():
            self.tail.crashed.exception()  # an owner that died on purpose
        await asyncio.gather(*(owner.leave() for owner in self._owners))
        await self.tail.__aexit__(kind, error, trace)
        self.index.close()

    @property
    def owner(self) -> DuelOwner:
        """The last owner made here."""
        return self._owners[-1]

    async def own(self, owner: type[DuelOwner] = DuelOwner, writer: type[DuelWriter] = DuelWriter) -> None:
        """Take the partition over."""
        made = type(owner.__name__, (owner,), {"writer_class": writer})
        self._owners.append(made(self.settings, App("duel"), 0, self.tail, self.clock))
        async with asyncio.timeout(SERVING_SECONDS):
            while not self.owner.serving:  # noqa: ASYNC110 - the owner tells nobody
                await asyncio.sleep(0.005)

    def stop_reading(self) -> None:
        """From here on this replica learns nothing of what others write."""
        self.tail.gate.clear()

    def go_on_reading(self) -> None:
        """It learns again."""
        self.tail.gate.set()

    async def append(self, request: AppendRequest) -> End:
        """Ask the owner here; written down."""
        invoked = time.monotonic()
        try:
            [outcome] = await self.owner.append([request])
        except NervError as error:
            outcome = error
        end, version, duplicate = ended(outcome)
        completed = NEVER if end is End.UNKNOWN else time.monotonic()
        ids = tuple(event.id for event in request.events)
        self.seen.appends.append(
            Append(request.stream, ids, request.expected, invoked, completed, end, version, duplicate)
        )
        return end

    async def read(self, kind: Kind, known_at: datetime | None = None) -> None:
        """Read the stream here, as a handler would; written down. One that is refused tells nothing."""
        invoked = time.monotonic()
        known_us = 0 if known_at is None else to_us(known_at)
        try:
            if kind is Kind.STRONG:
                await self.owner.barrier()
            elif kind is Kind.KNOWN:
                await self.owner.close_at(known_us)
        except NervError:
            return
        events = list(self.index.events(STREAM, 1, 2**63 - 1, backward=False))
        ids = [e.id for e in events if not known_us or e.recorded_time_us <= known_us]
        self.seen.reads.append(Read(STREAM, kind, invoked, time.monotonic(), len(ids), digest(ids), known_us=known_us))

    async def follow(
        self,
        course: Course,
        after: str | None,
        reader_class: type[LogReader],
        meanwhile: Callable[[], Awaitable[object]],
    ) -> str:
        """Read all streams after a position as a subscription does, with an append between history and live; where it ends."""
        start = {0: 0} if after is None else parse_whole_position(after, 1, "after")
        await self.tail.reached(0, start[0] - 1, SERVING_SECONDS)
        ranges = {p: (low, self.index.partition(p).next_offset) for p, low in start.items()}
        reader = reader_class(self.index, ranges, None, ReadQuery())
        at = self._see(course, reader)
        await meanwhile()
        reader.resume()
        return self._see(course, reader) or at

    @staticmethod
    def _see(course: Course, reader: LogReader) -> str:
        reached = ""
        while not reader.done:
            for position, event in reader.each(2):
                course.sights.append(Sight(event.subject, event.sequence, event.id))
                reached = position
        return reached


def request(expected: Expected = ANY, *, again: Event[bytes] | None = None) -> AppendRequest:
    """One event for the stream that they fight over."""
    event = again or Event(new_event_id(), "duel", "thing.noted.v1", utc_now(), b"{}")
    return AppendRequest(STREAM, [event], expected)


async def make_topics(mesh: str, kafka: KafkaSettings) -> None:
    """The topics of a mesh with one partition."""
    admin = Admin(kafka, "duel")
    await asyncio.to_thread(admin.create, of_mesh(mesh, partitions=1))
    await asyncio.to_thread(admin.wait_for, [t.name for t in of_mesh(mesh, partitions=1)], 20.0)
