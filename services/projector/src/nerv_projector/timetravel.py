# SPDX-License-Identifier: Apache-2.0
"""Views as of an instant: folded from history by the same functions, when they are asked for."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from nerv.api.event.v1 import event_pb2
from nerv.client.streams import Streams
from nerv.cloudevents import from_proto
from nerv.errors import Invalid, NervError, NotFound, Overloaded, SchemaMismatch, TooLarge
from nerv.model import Envelope
from nerv.projections import Projection
from nerv.protocols import ReadQuery
from nerv.protocols.views import View
from nerv.types import Event
from nerv_projector.model import describe, fold_as_of
from nerv_projector.settings import FoldSettings

Page = Sequence[event_pb2.Event]
"""Events as they come over the wire, a thousand at most: while the next ones are fetched, the loop does something else."""


@dataclass(frozen=True, slots=True)
class Instant:
    """Valid time and recorded time, either or both."""

    as_of: datetime | None = None
    known_at: datetime | None = None


class TimeTravel:
    """Reads history through *temporal* and folds it. Bounded in events and in how many do it at once."""

    def __init__(
        self,
        history: Streams,
        settings: FoldSettings,
        skipped: Callable[[str], AbstractSet[str]] = lambda name: frozenset(),
    ) -> None:
        """`skipped`: the ids of the events that no fold of a projection takes."""
        self._history = history
        self._settings = settings
        self._skipped = skipped
        self._free = asyncio.Semaphore(settings.scans)

    async def view(self, projection: Projection[Any], key: str, instant: Instant) -> View | None:
        """One view; None when it did not exist. One whose key is not the stream's costs a scan of its event types."""
        if projection.of_one_stream:
            return await self._of_stream(projection, key, instant)
        found = (await self._by_key(projection, key, instant)).get(key)
        return None if not found else _fold(projection, key, _ordered(projection, found, instant))

    async def views(self, projection: Projection[Any], instant: Instant) -> dict[str, View]:
        """Every view, by one scan, in order of the keys."""
        events = await self._by_key(projection, None, instant)
        views = {}
        for key in sorted(events, key=str.encode):
            views[key] = _fold(projection, key, _ordered(projection, events[key], instant))
            await asyncio.sleep(0)
        return views

    async def _of_stream(self, projection: Projection[Any], key: str, instant: Instant) -> View | None:
        stream = f"{projection.spec.category}-{key}"
        async with self._bounded(projection):
            pages = self._history.pages(stream, _query(projection, instant))
            found = [message async for page in self._taken(projection, pages) for message in page]
        if instant.as_of is not None:
            found.sort(key=attrgetter("time_us", "sequence"))
        return None if not found else _fold(projection, key, found)

    async def _by_key(
        self, projection: Projection[Any], key: str | None, instant: Instant
    ) -> dict[str, list[Event[bytes]]]:
        category = projection.spec.category if projection.of_one_stream else None
        found: dict[str, list[Event[bytes]]] = defaultdict(list)
        async with self._bounded(projection):
            pages = self._history.category_pages(category, _query(projection, instant))
            async for page in self._taken(projection, pages):
                for event in map(from_proto, page):
                    for name in _keys(projection, event):
                        if key is None or name == key:
                            found[name].append(event)
        return found

    @asynccontextmanager
    async def _bounded(self, projection: Projection[Any]) -> AsyncIterator[None]:
        if projection.spec.topics:
            raise Invalid(
                f"{projection.name} folds topics, which may forget; reads as of an instant are of projections over history"
            )
        if self._free.locked():
            raise Overloaded(
                f"{self._settings.scans} reads as of an instant are running (NERV_PROJECTOR__SCANS)", retry_after=1.0
            )
        async with self._free:
            yield

    async def _taken(self, projection: Projection[Any], pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
        """The events that a fold takes. Of a stream that there is not, none."""
        count, skipped = 0, self._skipped(projection.name)
        try:
            async for page in pages:
                count += len(page)
                if count > self._settings.scan:
                    raise TooLarge(f"this reads more than {self._settings.scan} events (NERV_PROJECTOR__SCAN)")
                yield [message for message in page if message.id not in skipped] if skipped else page
        except NotFound:
            return


def _query(projection: Projection[Any], instant: Instant) -> ReadQuery:
    return ReadQuery(types=projection.types, as_of=instant.as_of, known_at=instant.known_at)


def _keys(projection: Projection[Any], event: Event[bytes]) -> tuple[str, ...]:
    try:
        return projection.keys(event)
    except Exception:  # live, this event went to the dead letters and into no view; so it does here
        return ()


def _ordered(projection: Projection[Any], events: list[Event[bytes]], instant: Instant) -> list[Event[bytes]]:
    if instant.as_of is not None:
        events.sort(key=lambda e: (e.time, e.sequence or 0, e.stream))
    elif not projection.of_one_stream:  # of many streams: in the order in which they were recorded
        events.sort(key=lambda e: (e.recorded_time or e.time, e.stream, e.sequence or 0))
    return events


def _fold(projection: Projection[Any], key: str, events: Sequence[Envelope]) -> View:
    try:
        return fold_as_of(projection, events)
    except NervError:
        raise
    except Exception as error:
        raise SchemaMismatch(f"the fold of {projection.name}/{key} fails: {describe(error)}") from error
