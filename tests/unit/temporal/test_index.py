# SPDX-License-Identifier: Apache-2.0
"""The index: keys sort as streams and versions do, and what is written is read back, also after opening it again."""

import gc
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from nerv.errors import Misconfigured, Unavailable
from nerv.history import Known, content_digest
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


def filled(path: Path, events: int) -> None:
    """An index that was written out to files."""
    index = Index(path, "topic")
    for start in range(1, events, 1000):
        index.apply(0, placed([stored("a", v) for v in range(start, start + 1000)]), PartitionState(42, 7, "me"))
    index.database.compact()
    index.close()


def test_a_folder_that_cannot_be_opened_is_set_aside(path: Path) -> None:
    """Rubbish in its files does not keep the service down: it begins empty, and Kafka fills it. Twice leaves one behind."""
    for _ in range(2):
        filled(path, 1000)
        (path / "CURRENT").write_bytes(b"rubbish")
        with capture_logs() as logs:
            again = Index(path, "topic")
        assert again.partition(0) == PartitionState()
        assert [line["event"] for line in logs] == ["index.broken"]
        again.close()
    assert sorted(p.name for p in path.parent.iterdir()) == ["index", "index.broken"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_files_that_are_damaged_never_look_like_the_end_of_the_data(path: Path, damage: str) -> None:
    """Reading them ends the replica with an error that says so, and the next start sets the folder aside."""
    filled(path, 20_000)
    file = max(path.glob("*.sst"), key=lambda p: p.stat().st_size)
    data = bytearray(file.read_bytes())
    for position in range(0, len(data) // 2, 1000):
        data[position] ^= 0xFF
    file.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    if damage == "gone":
        file.unlink()
    ended: list[Exception] = []
    index = Index(path, "topic")
    if damage == "flipped":  # the others are seen as it is opened
        index.database.on_damage = ended.append
        with pytest.raises(Unavailable, match="damaged"):
            list(index.events("a", 1, 2**63 - 1, backward=False))
        with pytest.raises(Unavailable, match="damaged"):
            [index.event("a", version) for version in range(1, 20_001)]
        assert ended
        ended.clear()
        gc.collect()  # tracebacks hold iterators, and these the folder; a service ends here
        index.close()
        index = Index(path, "topic")
    assert index.partition(0) == PartitionState()
    assert (path.parent / "index.broken").is_dir()
    index.close()


DYING = """
import os, sys
from pathlib import Path
from tests.unit.temporal.test_index import placed, stored
from nerv_temporal.index import Index, PartitionState
index = Index(Path(sys.argv[1]), "topic")
for version in range(1, 301):
    index.apply(0, [(version, stored("a", version)), (version, stored("b", version))], PartitionState(version + 1, 7, "me"))
    if version == 200:
        index.database.flush()
os._exit(9)
"""


def test_a_kill_takes_whole_batches_from_the_end(path: Path) -> None:
    """What is there after it is all that the offset covers, and no more: the rest comes from Kafka again."""
    root = Path(__file__).parent.parent.parent.parent
    done = subprocess.run([sys.executable, "-c", DYING, str(path)], cwd=root, check=False)
    assert done.returncode == 9
    index = Index(path, "topic")
    covered = index.partition(0).next_offset - 1
    assert 200 <= covered <= 300
    assert index.version("a") == index.version("b") == covered
    assert [e.sequence for e in index.events("a", 1, 2**63 - 1, backward=False)] == list(range(1, covered + 1))
    index.close()


def test_an_index_that_another_process_has_open_is_left_alone(path: Path) -> None:
    """It is no damage: the second one says what is wrong."""
    index = Index(path, "topic")
    with pytest.raises(Misconfigured, match="lock"):
        Index(path, "topic")
    assert not (path.parent / "index.broken").exists()
    index.close()


@pytest.mark.timeout(600)  # a million events
def test_only_the_blocks_that_are_needed_are_decoded(path: Path) -> None:
    """Of a stream of 1,000,000 events, the last 100 cost at most 6 blocks; so do any 100, and any one by its id costs 2."""
    index = Index(path, "topic", counted=True)
    event = stored("a", 1).event
    for start in range(0, 1_000_000, 5000):
        events = [
            Stored(replace(event, id=f"e{v:032x}", sequence=v), v.to_bytes(16, "big"))
            for v in range(start + 1, start + 5001)
        ]
        index.apply(0, list(enumerate(events, start)), PartitionState(start + 5000, 7, "me"))
    index.database.compact()
    last, middle = (
        index.events("a", 999_901, 1_000_000, backward=True),
        index.events("a", 500_001, 500_100, backward=False),
    )
    for events_, most in ((last, 6), (middle, 6)):
        before = index.database.count("number.block.decompressed")
        assert len(list(events_)) == 100
        assert 1 <= index.database.count("number.block.decompressed") - before <= most
    before = index.database.count("number.block.decompressed")
    assert index.known("a", f"e{123_456:032x}") == Known(123_456, (123_456).to_bytes(16, "big"))
    assert index.database.count("number.block.decompressed") - before <= 2
    assert index.database.size() < 120 * 1_000_000
    index.close()


def test_a_chain_of_causes_is_found_whole(path: Path) -> None:
    """By its correlation id; bounded, in any streams and partitions; other events are not in it."""

    def of(stream: str, version: int, chain: str | None) -> Stored:
        found = stored(stream, version)
        return replace(found, event=replace(found.event, correlation_id=chain))

    index, chain = Index(path, "topic"), "a/1"
    index.apply(0, [(0, of("a", 1, None)), (5, of("a", 2, chain))], PartitionState(6))
    index.apply(1, [(3, of("b", 1, chain)), (4, of("b", 2, "x"))], PartitionState(5))
    found, whole = index.chain(chain, 2)
    assert whole
    assert [(place.partition, place.offset, event.id) for place, event in found] == [(0, 5, "a/2"), (1, 3, "b/1")]
    found, whole = index.chain(chain, 1)
    assert (len(found), whole) == (1, False)
    assert index.chain("nothing", 10) == ([], True)
    index.close()


def test_an_event_is_found_by_its_id_among_streams(path: Path) -> None:
    """With its version, in whichever of them it is; not in others."""
    index = Index(path, "topic")
    index.apply(0, [(0, stored("a", 1)), (1, stored("b", 1)), (2, stored("b", 2))], PartitionState(3))
    assert index.which(["nothing", "a", "b"], "b/2") == ("b", 2)
    assert index.which(["a"], "b/2") is None
    index.close()
