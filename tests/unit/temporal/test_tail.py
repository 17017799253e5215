# SPDX-License-Identifier: Apache-2.0
"""What the index is known to hold whole, when the records of a tick come at once, or in parts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nerv.cloudevents.proto_format import to_us
from nerv.history import content_digest
from nerv.kafka import KafkaSettings, Outgoing
from nerv.kafka.owning import Fence, fence_record
from nerv.types import Event
from nerv_temporal.index import Index, row_of
from nerv_temporal.model import Stored
from nerv_temporal.records import SOURCE, Answered, Closing, closing_record, event_record
from nerv_temporal.tail import Tail

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=5)


class Taken:
    """A record as the consumer gives it."""

    def __init__(self, record: Outgoing, offset: int) -> None:
        self._record, self._offset = record, offset

    def topic(self) -> str:
        """The topic."""
        return self._record.topic

    def partition(self) -> int:
        """The partition."""
        return 0

    def offset(self) -> int:
        """The offset."""
        return self._offset

    def key(self) -> bytes | None:
        """The key."""
        return self._record.key

    def value(self) -> bytes | None:
        """The value."""
        return self._record.value

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers."""
        return list(self._record.headers or [])

    def timestamp(self) -> tuple[int, int]:
        """When the broker had it."""
        return 1, 0


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Tail]:
    """Over an empty index; nothing is consumed."""
    index = Index(tmp_path / "index", "topic")
    yield Tail(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "test", "history", 1, index)
    index.close()


def event(version: int, recorded: datetime) -> Event[bytes]:
    """An event of history."""
    found: Event[bytes] = Event(f"e-{version}", "test", "thing.noted.v1", NOON, b"{}")
    return replace(found, subject="thing-1", sequence=version, recorded_time=recorded)


def fence() -> Outgoing:
    """The record of a new owner."""
    return fence_record("history", 0, Fence("me", "http://me", "token", "a"), NOON, SOURCE)


def test_half_a_tick_is_not_whole(tail: Tail) -> None:
    """Two of three events that were recorded at one instant: what was recorded before is whole, that instant is not."""
    records = [event_record("history", 0, event(n, LATER)) for n in (1, 2)]
    tail._take_chunk(0, [Taken(record, offset) for offset, record in enumerate(records)])
    assert tail.index.partition(0).recorded_us == to_us(LATER)
    assert tail.complete_until(0) == to_us(LATER) - 1


def test_what_stands_before_a_fence_is_whole(tail: Tail) -> None:
    """A new owner answers for all that was committed before it came."""
    records = [event_record("history", 0, event(1, LATER)), fence()]
    tail._take_chunk(0, [Taken(record, offset) for offset, record in enumerate(records)])
    assert tail.complete_until(0) == to_us(LATER)


def test_a_closing_is_whole_at_its_instant(tail: Tail) -> None:
    """Nothing is recorded at or before it any more."""
    records = [event_record("history", 0, event(1, NOON)), closing_record("history", 0, to_us(LATER), NOON)]
    tail._take_chunk(0, [Taken(record, offset) for offset, record in enumerate(records)])
    assert tail.complete_until(0) == to_us(LATER)


@pytest.mark.parametrize("consumed_first", [False, True])
def test_a_tick_of_our_own_is_whole(tail: Tail, consumed_first: bool) -> None:
    """Whether its owner applies it, or the consumer had seen it by then."""
    events = [event(n, LATER) for n in (1, 2)]
    if consumed_first:
        tail._take_chunk(0, [Taken(event_record("history", 0, e), n) for n, e in enumerate(events, 1)])
    rows = [row_of(Stored(e, content_digest(e))) for e in events]
    tail.advance(0, -1, [Closing(to_us(NOON)), Answered(7), *rows], 3)
    assert tail.complete_until(0) == to_us(LATER)
    assert tail.index.version("thing-1") == 2
