# SPDX-License-Identifier: Apache-2.0
"""Runs one projection on the partitions that this replica owns, and starts over whenever what it knew no longer holds."""

import asyncio
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import structlog

from nerv.cancelling import end
from nerv.errors import Misconfigured, NervError, Retry, Unavailable
from nerv.kafka import BatchConsumer
from nerv.kafka.admin import TopicState
from nerv.projections import Projection
from nerv.protocols.views import Cursor, Epoch, Views
from nerv_projector.lanes import Lane
from nerv_projector.meter import Meter
from nerv_projector.parks import Parks
from nerv_projector.rebuilding import Rebuilding
from nerv_projector.sources import Sources
from nerv_projector.watermarks import Bounds, Watermarks

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
TOKEN = 16  # hexadecimal digits that tell an epoch; every delta carries them
TOPICS_EVERY = 10  # checks of the epoch to one of Kafka's topic ids


@dataclass(frozen=True, slots=True)
class Hosted:
    """A projection, its views, its topics, and its lanes: one that folds, and before it one that rekeys if there is one."""

    projection: Projection[Any]
    views: Views
    sources: Sources
    folded_topic: str  # history, or the rekeyed one
    changes: str  # the topic of its deltas
    lanes: tuple[Lane, ...]
    version: int = 1
    meter: Meter = field(default_factory=Meter)
    parks: Parks | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """All that are read."""
        return tuple(dict.fromkeys([*self.sources.topics, self.folded_topic]))

    @property
    def rekeyer(self) -> BatchConsumer | None:
        """The consumer of the group that rekeys; None where nothing is rekeyed, or not now."""
        return self.lanes[0].consumer if len(self.lanes) > 1 else None

    def changed(self, epoch: Epoch) -> bool:
        """Whether the views of an epoch were begun by other code, or without an index that is declared now."""
        projection = self.projection
        indexes = {} if projection.indexes is None else projection.indexes.digests
        return epoch.fingerprint != projection.fingerprint or dict(epoch.indexes) != indexes


class Runner:
    """Supervises the lanes of one projection. Use as `async with`.

    Every fault that may pass, every change of partitions and every new epoch leads to the same place: stop the lanes, read
    the truth (Kafka's topic ids, the epoch, the cursors), start them again.
    """

    def __init__(
        self, hosted: Hosted, watermarks: Watermarks, crashed: "asyncio.Future[None]", since: int | None = None
    ) -> None:
        """`since`: a new epoch begins at this instant (milliseconds), and not with history."""
        self.since = since
        self.rebuilding: Rebuilding | None = None
        self.hosted = hosted
        self.epoch: Epoch | None = None
        self.fault: str | None = "has not started yet"
        self._watermarks = watermarks
        self._crashed = crashed
        self._owned: frozenset[int] = frozenset()
        self._given: frozenset[int] = frozenset()
        self.paused = False
        self._working: frozenset[int] | None = None  # what the lanes run on; None when they must be started anew
        self._dirty = asyncio.Event()
        self._lock = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._failures = 0  # in a row
        self.failures = 0  # ever
        self.started_in: float | None = None  # seconds, the last time that its partitions changed or it started over
        self._checks = 0
        self._tasks: list[asyncio.Task[Any]] = []
        for lane in hosted.lanes:
            lane.failed = self.failed

    @property
    def name(self) -> str:
        """The projection's name."""
        return self.hosted.projection.name

    async def __aenter__(self) -> Self:
        self._dirty.set()
        self._tasks.append(asyncio.create_task(self._run(), name=f"runner-{self.name}"))
        if self.hosted.parks is not None:
            self._tasks.append(asyncio.create_task(self._park(self.hosted.parks), name=f"parks-{self.name}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            await end(task)
        await self._halt()

    @property
    def ready(self) -> bool:
        """Whether the views hold all that history held when they were begun."""
        return self.rebuilding is not None and self.rebuilding.ready

    def own(self, partitions: frozenset[int]) -> None:
        """Work on these partitions from now on, soon; while it is paused, on none."""
        self._given = partitions
        self._owned = frozenset() if self.paused else partitions
        self._dirty.set()

    async def pause(self, paused: bool) -> None:
        """Work on nothing until told otherwise; when this returns nothing is in hand."""
        if paused != self.paused:
            self.paused = paused
            await self.let_go(self._given)

    async def let_go(self, partitions: frozenset[int]) -> None:
        """Work on these only; when this returns, nothing of the others is in hand."""
        self.own(partitions)
        async with self._lock:
            if self._working is None or self._working - self._owned:
                await self._halt()

    def failed(self, error: Exception) -> None:
        """A lane could not go on. What may pass is tried again from the cursors; what will not brings the service down."""
        if not isinstance(error, NervError) or error.retry is Retry.NEVER:
            self._crash(error)
            return
        self._failures += 1
        self.failures += 1
        self.fault = error.detail
        self._working = None
        log.warning("projection.start_over", projection=self.name, cause=error.detail)
        self._dirty.set()

    async def check(self) -> None:
        """See whether the epoch still holds: a wiped store, another replica's new epoch, a topic that was made anew."""
        if self.epoch is None or self._lock.locked() or self._dirty.is_set():
            return
        self._checks += 1
        try:
            replaced = await self.hosted.views.epoch() != self.epoch
            await self._look()
            if not replaced and self._checks % TOPICS_EVERY == 0:
                states = await self._topics()
                replaced = _misfit_of_topics(self.epoch, self.hosted.sources, states) is not None
        except NervError as error:
            self.fault = error.detail
            return
        if self._dirty.is_set():
            return  # it starts over anyway
        if replaced:
            log.warning("projection.replaced", projection=self.name)
            self._working = None
            self._dirty.set()
        else:
            self.fault = None
            self._failures = 0

    async def _run(self) -> None:
        try:
            while True:
                await self._dirty.wait()
                if self._failures:
                    await asyncio.sleep(_pause(self._failures))
                self._dirty.clear()
                if self._working != self._owned:
                    await self._restart()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._crash(error)

    async def _park(self, parks: Parks) -> None:
        try:
            await parks.run(lambda: None if self.epoch is None or not self._working else (self.epoch, self._working))
        except Exception as error:
            self._crash(error)

    def _crash(self, error: Exception) -> None:
        log.error("projection.failed", projection=self.name, exc_info=error)
        if not self._crashed.done():
            self._crashed.set_exception(error)

    async def _restart(self) -> None:
        began = time.monotonic()
        try:
            async with self._lock:
                await self._halt()
                self.epoch = await self._present_epoch()
                owned = self._working = self._owned
                starts = [lane.start(self.epoch, owned) for lane in self.hosted.lanes]
                for outcome in await asyncio.gather(*starts, return_exceptions=True):
                    if isinstance(outcome, BaseException):
                        raise outcome
        except NervError as error:
            self.failed(error)
        else:
            self.fault = None
            self.started_in = time.monotonic() - began
            await self.look()
            log.info(
                "projection.runs", projection=self.name, partitions=sorted(owned), epoch=self.epoch.token,
                started_in=self.started_in,
            )  # fmt: skip

    async def _look(self) -> None:
        """See whether the views have caught up; of a new epoch from the start."""
        if self.epoch is None:
            return
        if self.rebuilding is None or self.rebuilding.epoch != self.epoch:
            hosted = self.hosted
            self.rebuilding = Rebuilding(
                self.epoch, hosted.views, self._watermarks, hosted.sources, hosted.folded_topic
            )
            if hosted.changed(self.epoch):
                log.warning(
                    "projection.code_changed", projection=self.name, version=hosted.version,
                    do=f"nerv projections rebuild {self.name}",
                )  # fmt: skip
        await self.rebuilding.look(self.hosted.rekeyer)

    async def look(self) -> None:
        """See now, and not at the next check, whether the views have caught up. One look at a time is enough."""
        if self._looking.locked():
            return
        try:
            async with self._looking:
                await self._look()
        except NervError as error:
            log.warning("projection.look", projection=self.name, cause=error.detail)  # the next check looks again

    async def _halt(self) -> None:
        self._working = None
        await asyncio.gather(*(lane.stop() for lane in self.hosted.lanes))

    async def _present_epoch(self) -> Epoch:
        """The epoch to work in: the present one if it fits Kafka's topics and has all its cursors, else a new one."""
        hosted = self.hosted
        states = await self._topics()
        await self._watermarks.topics([hosted.changes])  # deltas need it; one that is made anew voids nothing
        present = await hosted.views.epoch()
        stored = {} if present is None else (await hosted.views.progress(present)).cursors
        # After the cursors: other replicas go on folding, and must not seem to be beyond the end.
        bounds = await self._watermarks.bounds(hosted.folded_topic)
        cause = "there are no views"
        if present is not None:
            cause = _misfit_of_topics(present, hosted.sources, states) or _misfit(stored, bounds) or ""
            if not cause:
                return present
        ids = {topic: state.id for topic, state in states.items()}
        new = await self._new_epoch(states)
        # Nothing is rekeyed under the new token before it is written, so that the topic's end is early enough.
        first = {p: high for p, (_, high) in bounds.items()} if hosted.projection.rekeyed else new.first
        cursors = {p: Cursor(ids[hosted.folded_topic], offset) for p, offset in first.items()}
        begun = await hosted.views.begin(new, cursors, instead_of=present)
        if dict(begun.topics) != ids:
            raise Unavailable(f"another replica folds {self.name} from other topics", retry_after=1.0)
        log.warning("projection.rebuilds", projection=self.name, cause=cause, epoch=begun.token)
        if present is not None and present.token != begun.token:
            self._tasks.append(asyncio.create_task(self._drop(present)))
        return begun

    async def _topics(self) -> dict[str, TopicState]:
        """The topics that are read. Raises Misconfigured for one that cannot be folded as it is declared."""
        hosted = self.hosted
        named = hosted.projection.spec.topics
        states = await self._watermarks.topics(hosted.topics, foreign=hosted.sources.topics if named else ())
        if named and not hosted.sources.expire and self.epoch is None:
            for topic in hosted.sources.topics:
                if (why := await self._watermarks.expiry(topic)) is not None:
                    raise Misconfigured(
                        f"projection {self.name} folds {topic}, and {why}: a rebuild would fold what is left of it. "
                        "Declare ephemeral=True, or have the topic keep everything (retention.ms=-1)"
                    )
        return states

    async def _new_epoch(self, states: Mapping[str, TopicState]) -> Epoch:
        hosted, projection = self.hosted, self.hosted.projection
        numbers = _numbers(hosted.sources, states)
        ranges = await self._watermarks.ranges(hosted.sources.places(numbers))
        first = {number: ranges[hosted.sources.place(number)][0] for number in numbers}
        if self.since is not None:
            begun = await self._watermarks.offsets_at(ranges, self.since)
            first = {number: begun[hosted.sources.place(number)] for number in numbers}
        goal = {number: max(first[number], ranges[hosted.sources.place(number)][1]) for number in numbers}
        indexes = {} if projection.indexes is None else projection.indexes.digests
        ids = {topic: state.id for topic, state in states.items()}
        return Epoch(uuid.uuid4().hex[:TOKEN], ids, first, goal, projection.fingerprint, indexes)

    async def _drop(self, epoch: Epoch) -> None:
        try:
            await self.hosted.views.drop(epoch)
        except NervError as error:
            log.warning("projection.drop", projection=self.name, epoch=epoch.token, cause=error.detail)


def _pause(failures: int) -> float:
    # Jitter, so that replicas that failed together do not come back together.
    longest: float = min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _numbers(sources: Sources, states: Mapping[str, TopicState]) -> list[int]:
    """Of all partitions of the sources."""
    places = ((topic, p) for topic in sources.topics for p in range(states[topic].partitions))
    return [sources.number(place) for place in places]


def _misfit_of_topics(epoch: Epoch, sources: Sources, states: Mapping[str, TopicState]) -> str | None:
    """Why an epoch cannot go on with the topics as they are; None when it can."""
    if epoch.topics.keys() != states.keys():
        return "it is declared to fold other topics"
    if any(epoch.topics[topic] != state.id for topic, state in states.items()):
        return "a topic was made anew"
    return None if epoch.first.keys() == set(_numbers(sources, states)) else "a topic has more partitions than it had"


def _misfit(stored: Mapping[int, bytes], bounds: Mapping[int, Bounds]) -> str | None:
    """Why an epoch cannot go on with the cursors that are stored; None when it can."""
    for partition, (low, high) in bounds.items():
        if partition not in stored:
            return f"partition {partition} has lost its cursor"
        offset = Cursor.from_bytes(stored[partition]).next_offset
        if not low <= offset <= high:
            return f"partition {partition} is folded up to {offset}, and the topic holds {low} to {high}"
    return None
