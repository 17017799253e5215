# SPDX-License-Identifier: Apache-2.0
"""What can be read of history, a slice at a time: of one stream by version, of many in the order of recording.

A reader holds no iterator and no more than a slice, however long the read: between slices the index may change, and the
reader of a slow connection costs nothing.
"""

import heapq
from collections.abc import Callable, Iterator
from typing import Protocol

from nerv.api.event.v1 import event_pb2
from nerv.cloudevents.proto_format import to_us
from nerv.errors import NotFound
from nerv.history import named
from nerv.history.lifecycle import gone
from nerv.protocols import ReadQuery
from nerv.types import category_of
from nerv_temporal.index import Index, Place
from nerv_temporal.positions import Position, Ranges, format_position, format_ranges

LAST_VERSION = 2**63 - 1
SLICE = 500  # events that are looked at in one go
LOADED = 100  # events that are loaded in one go, of the limit of 256 KiB each
SLICE_BYTES = 4 * 1024 * 1024


def matcher(query: ReadQuery) -> Callable[[event_pb2.Event], bool]:
    """The query's bounds on messages (versions aside): nothing is decoded for an event that is not wanted."""
    as_of = None if query.as_of is None else to_us(query.as_of)
    known_at = None if query.known_at is None else to_us(query.known_at)
    recorded_from = None if query.recorded_from is None else to_us(query.recorded_from)
    types = named(query.types)
    if as_of is None and known_at is None and recorded_from is None and not query.types:
        return lambda event: True

    def matches(event: event_pb2.Event) -> bool:
        return (
            (as_of is None or event.time_us <= as_of)
            and (known_at is None or event.recorded_time_us <= known_at)
            and (recorded_from is None or event.recorded_time_us >= recorded_from)
            and types(event.type)
        )

    return matches


class Reader(Protocol):
    """Reads on, a slice at a time."""

    @property
    def done(self) -> bool:
        """Whether all there was has been read."""
        ...

    @property
    def token(self) -> str:
        """Where the next page of this read begins."""
        ...

    @property
    def position(self) -> str:
        """Where a read that goes on for ever goes on from."""
        ...

    def slice(self, limit: int) -> list[event_pb2.Event]:
        """The next events, at most `limit`; none does not mean that there are no more, `done` does."""
        ...

    def each(self, limit: int) -> Iterator[tuple[str, event_pb2.Event]]:
        """As `slice`, each event with the text from which to go on after it."""
        ...

    def resume(self) -> None:
        """Go on up to where the index has come by now."""
        ...


def check_exists(index: Index, stream: str, query: ReadQuery) -> None:
    """Raises NotFound for a stream that does not exist, Gone for one that was deleted, as far as the query looks."""
    found = index.stream(stream)
    if found.version == 0:
        raise NotFound(f"there is no stream {stream}")
    refused = gone(stream, index.marks(stream), query) if found.marked else None
    if refused is not None:
        raise refused


class StreamReader:
    """Reads one stream by version, up to the version that it has now."""

    def __init__(self, index: Index, stream: str, query: ReadQuery) -> None:
        self._index = index
        self._stream = stream
        self._backward = query.backward
        self._low = query.from_version
        self._high = min(index.version(stream), LAST_VERSION if query.to_version is None else query.to_version)
        # Recorded time grows with the version: instants are searched for, not read through.
        if query.recorded_from is not None:
            self._low = max(self._low, first_recorded(index, stream, to_us(query.recorded_from)))
        if query.known_at is not None:
            self._high = min(self._high, first_recorded(index, stream, to_us(query.known_at) + 1) - 1)
        self._matches = matcher(query)
        self._as_of_us = None if query.as_of is None or query.backward else to_us(query.as_of)

    @classmethod
    def existing(cls, index: Index, stream: str, query: ReadQuery) -> "StreamReader":
        """Raises NotFound for a stream that does not exist, Gone for one that was deleted."""
        check_exists(index, stream, query)
        return cls(index, stream, query)

    @property
    def done(self) -> bool:
        """Whether the versions have been read."""
        return self._low > self._high

    @property
    def token(self) -> str:
        """The version that was looked at last."""
        return str(self._high + 1 if self._backward else self._low - 1)

    @property
    def position(self) -> str:
        """The version after which to go on: backward, after all that is left to read."""
        return str(self._high if self._backward else self._low - 1)

    def slice(self, limit: int) -> list[event_pb2.Event]:
        """The next events."""
        found: list[event_pb2.Event] = []
        first, last = self._window()
        # Where no event was late, times grow with the version, too: nothing behind the first that is too new is wanted.
        size, until_us = 0, None if self._index.stream(self._stream).late else self._as_of_us
        for event in self._index.events(self._stream, first, last, backward=self._backward):
            if until_us is not None and event.time_us > until_us:
                last = self._high
                break
            if self._matches(event):
                found.append(event)
                size += len(event.data)
                if len(found) == limit or size > SLICE_BYTES:
                    self._pass(event.sequence)
                    return found
        self._pass(first if self._backward else last)
        return found

    def each(self, limit: int) -> Iterator[tuple[str, event_pb2.Event]]:
        """The next events with their versions."""
        return ((str(event.sequence), event) for event in self.slice(limit))

    def resume(self) -> None:
        """Go on up to the version that the stream has now."""
        self._high = self._index.version(self._stream)

    def _window(self) -> tuple[int, int]:
        if self._backward:
            return max(self._low, self._high - SLICE + 1), self._high
        return self._low, min(self._high, self._low + SLICE - 1)

    def _pass(self, version: int) -> None:
        if self._backward:
            self._high = version - 1
        else:
            self._low = version + 1


def first_recorded(index: Index, stream: str, instant_us: int) -> int:
    """The first version recorded at the instant or later: recorded time grows with the version."""
    low, high = 1, index.version(stream) + 1
    middle = high - 1  # the last one first: as a rule the instant is later than all there is
    while low < high:
        event = index.event(stream, middle)
        if event is not None and event.recorded_time_us < instant_us:
            low = middle + 1
        else:
            high = middle
        middle = (low + high) // 2
    return low


class LogReader:
    """Reads the events of many streams, within ranges of offsets, in the order of (recorded instant, partition, offset)."""

    def __init__(self, index: Index, ranges: Ranges, category: str | None, query: ReadQuery) -> None:
        self._index = index
        self._ranges = dict(ranges)
        self._backward = query.backward
        self._wanted = _wanted(category, query)
        self._matches = matcher(query)
        self.done = False
        self._merged = self._merge()

    @property
    def token(self) -> str:
        """The ranges that are left."""
        return format_ranges(self._ranges)

    @property
    def position(self) -> str:
        """Where each partition goes on: backward, beyond all that is left to read."""
        return format_position({p: high if self._backward else low for p, (low, high) in self._ranges.items()})

    def slice(self, limit: int) -> list[event_pb2.Event]:
        """The next events."""
        return [event for _, event in self._slice(limit)]

    def each(self, limit: int) -> Iterator[tuple[str, event_pb2.Event]]:
        """The next events, each with the position (backward: the token) after it."""
        told = dict(self._ranges)
        for place, event in self._slice(limit):
            low, high = told[place.partition]
            told[place.partition] = (low, place.offset) if self._backward else (place.offset + 1, high)
            yield format_ranges(told) if self._backward else format_position(_lows(told)), event

    def resume(self) -> None:
        """Go on up to where the index has come by now."""
        ends = {p: self._index.partition(p).next_offset for p in self._ranges}
        self._ranges = {p: (low, max(ends[p], high)) for p, (low, high) in self._ranges.items()}
        self._merged = self._merge()
        self.done = False

    def _slice(self, limit: int) -> list[tuple[Place, event_pb2.Event]]:
        places: list[Place] = []
        for looked_at, place in enumerate(self._merged, start=1):
            self._pass(place)
            if self._wanted(place):
                places.append(place)
            if looked_at == SLICE or len(places) == min(limit, LOADED):
                break
        else:
            # Beyond the last event stand records of other kinds; they are passed, too.
            self._ranges = {
                p: (low, low) if self._backward else (high, high) for p, (low, high) in self._ranges.items()
            }
            self.done = True
        events = self._index.load(places) if places else []
        return [(p, e) for p, e in zip(places, events, strict=True) if e is not None and self._matches(e)]

    def _pass(self, place: Place) -> None:
        low, high = self._ranges[place.partition]
        self._ranges[place.partition] = (low, place.offset) if self._backward else (place.offset + 1, high)

    def _merge(self) -> Iterator[Place]:
        return heapq.merge(*map(self._places, self._ranges), key=_recorded, reverse=self._backward)

    def _places(self, partition: int) -> Iterator[Place]:
        low, high = self._ranges[partition]
        while found := self._index.places(partition, low, high, backward=self._backward, limit=SLICE):
            yield from found
            low, high = (low, found[-1].offset) if self._backward else (found[-1].offset + 1, high)


def _lows(ranges: Ranges) -> Position:
    return {partition: low for partition, (low, _) in ranges.items()}


def _recorded(place: Place) -> tuple[int, int, int]:
    return place.recorded_us, place.partition, place.offset


def _wanted(category: str | None, query: ReadQuery) -> Callable[[Place], bool]:
    """What can be told of an event without loading it."""
    types, streams = named(query.types), named(query.streams)
    known_at = None if query.known_at is None else to_us(query.known_at)
    last = LAST_VERSION if query.to_version is None else query.to_version

    def wanted(place: Place) -> bool:
        return (
            (category is None or category_of(place.stream) == category)
            and query.from_version <= place.version <= last
            and (known_at is None or place.recorded_us <= known_at)
            and types(place.type)
            and streams(place.stream)
        )

    return wanted


def first_offset(index: Index, partition: int, instant_us: int) -> int:
    """The first offset of a partition that holds an event recorded at an instant or later; its end without one."""
    low, high = 0, index.partition(partition).next_offset
    while low < high:
        middle = (low + high) // 2
        found = index.places(partition, middle, high, backward=False, limit=1)
        if found and found[0].recorded_us < instant_us:
            low = found[0].offset + 1
        else:
            high = middle
    return low
