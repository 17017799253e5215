# SPDX-License-Identifier: Apache-2.0
"""The index: keys sort as streams and versions do, and what is written is read back, also after opening it again."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nerv.history import content_digest
from nerv.types import Event
from nerv_temporal.index import Index, PartitionState
from nerv_temporal.model import Stored

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


def stored(stream: str, version: int) -> Stored:
    """An event as history holds it."""
    event: Event[bytes] = Event(f"{stream}/{version}", "test", "thing.noted.v1", NOON, b"{}")
    event = replace(event, subject=stream, sequence=version, recorded_time=NOON)
    return Stored(event, content_digest(event))


def placed(events: list[Stored]) -> list[tuple[int, Stored]]:
    """The events at offsets from 0 on."""
    return list(enumerate(events))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the index lies."""
    return tmp_path / "index"


def test_streams_do_not_run_into_each_other(path: Path) -> None:
    """A stream whose name begins with another's stays apart, and versions sort as numbers."""
    index = Index(path, "topic")
    events = [stored("a", v) for v in (1, 2, 255, 256, 70000)] + [stored("a-b", 1), stored("ab", 1)]
    index.apply(0, placed(events), PartitionState(9, 1, "me"))
    assert [e.sequence for e in index.events("a", 1, 2**63 - 1, backward=False)] == [1, 2, 255, 256, 70000]
    assert [e.sequence for e in index.events("a", 2, 256, backward=True)] == [256, 255, 2]
    assert list(index.streams("a")) == [("a", 70000), ("a-b", 1)]
    assert list(index.streams(None, after="a")) == [("a-b", 1), ("ab", 1)]
    index.close()


def test_it_is_all_there_when_opened_again(path: Path) -> None:
    """Versions, ids, digests and the covered offset survive."""
    index = Index(path, "topic")
    index.apply(3, placed([stored("a", 1)]), PartitionState(42, 7, "http://me"))
    index.close()
    again = Index(path, "topic")
    assert again.version("a") == 1
    known = again.known("a", "a/1")
    assert known is not None
    assert (known.version, known.digest) == (1, stored("a", 1).digest)
    assert again.partition(3) == PartitionState(42, 7, "http://me")
    assert again.known("a", "other") is None
    again.close()


def test_the_index_of_another_topic_is_discarded(path: Path) -> None:
    """A recreated topic has another id: what was indexed of the old one is not believed."""
    index = Index(path, "topic")
    index.apply(0, placed([stored("a", 1)]), PartitionState(42, 7, "me"))
    index.close()
    other = Index(path, "another")
    assert other.version("a") == 0
    assert other.partition(0) == PartitionState()
    other.close()


def test_a_damaged_index_is_set_aside(path: Path) -> None:
    """Rubbish in its files does not keep the service down: it begins empty, and Kafka fills it."""
    index = Index(path, "topic")
    index.apply(0, placed([stored("a", 1)]), PartitionState(42, 7, "me"))
    index.close()
    (path / "CURRENT").write_bytes(b"rubbish")
    again = Index(path, "topic")
    assert again.partition(0) == PartitionState()
    assert [p.name for p in path.parent.iterdir() if p.name.startswith("index.broken-")]
    again.close()
