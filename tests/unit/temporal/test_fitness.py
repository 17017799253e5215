# SPDX-License-Identifier: Apache-2.0
"""An owner that was deposed and does not know it must not hide from readers what they have written."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nerv.cloudevents.proto_format import to_us
from nerv.history import content_digest
from nerv.types import Event
from nerv_temporal.api.fitness import Point, is_behind
from nerv_temporal.index import Index, PartitionState
from nerv_temporal.model import Stored

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
JUST_BEFORE = NOON - timedelta(microseconds=1)


def test_an_owner_that_may_not_know_an_event_is_behind(tmp_path: Path) -> None:
    """By its offset, or by the instant that it answers for; an instant that was asked for is the reader's own choice."""
    index = Index(tmp_path / "index", "topic")
    event = replace(Event("1", "test", "thing.noted.v1", NOON, b"{}"), subject="a", sequence=1, recorded_time=NOON)
    index.apply(0, [(5, Stored(event, content_digest(event)))], PartitionState(6, to_us(NOON), "me"))
    assert not is_behind(index, 0, Point(6, NOON), 5, None)
    assert is_behind(index, 0, Point(5, NOON), 5, None)
    assert is_behind(index, 0, Point(6, JUST_BEFORE), 5, None)
    assert not is_behind(index, 0, Point(6, JUST_BEFORE), 5, JUST_BEFORE)
    assert not is_behind(index, 0, Point(7, JUST_BEFORE), 6, None)  # a fence, or what Kafka keeps for itself
    index.close()
