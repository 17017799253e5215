# SPDX-License-Identifier: Apache-2.0
"""History goes out into an archive and in again, whole or not at all; a file that was cut short is said, and gone on with."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import zstandard

from nerv.errors import Invalid, VersionConflict
from nerv.history import archive, moving
from nerv.history.archive import CutShort, check
from nerv.history.memory import MemoryHistory
from nerv.history.moving import bring_in, export
from nerv.history.sqlite import SqliteHistory
from nerv.protocols import Appended, AppendOutcome, AppendRequest, History, ReadQuery
from nerv.testing.clock import ManualClock
from nerv.types import Event, EventType

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
DATA = (b'{"n":1}', b'{"n": 1.0, "s": "\\u00e9"}', b"null", b"", b"\x00\xff", b'"text"', b'{"n":1e400}')


def event(number: int, kind: str = "thing.noted.v1") -> Event[bytes]:
    """The n-th event, with data of every sort."""
    data = DATA[number % len(DATA)] if kind == "thing.noted.v1" else b'{"reason":"test"}'
    content = "application/octet-stream" if data == b"\x00\xff" else "application/json"
    return Event(
        f"e{number}", "test", kind, NOON + timedelta(seconds=number % 7), data, correlation_id="c", content_type=content
    )


async def filled(history: History, count: int, *, first: int = 0) -> None:
    """Events of seven streams in turns, one of which was deleted and reopened."""
    for number in range(first, first + count):
        stream = f"{'thing' if number % 3 else 'other'}-{number % 7}"
        [outcome] = await history.append([AppendRequest(stream, [event(number)])])
        assert isinstance(outcome, Appended)
    if not first:
        for number, kind in ((10**6, EventType.STREAM_DELETED), (10**6 + 1, EventType.STREAM_REOPENED)):
            await history.append([AppendRequest("thing-1", [event(number, kind)])])


async def contents(history: History, category: str | None = None) -> dict[tuple[str, int | None], Event[bytes]]:
    """Every event by stream and version, but for when it was recorded."""
    return {
        (e.stream, e.sequence): replace(e, recorded_time=None)
        async for e in history.read_category(category, ReadQuery(deleted=True))
    }


@pytest.fixture
async def source(monkeypatch: pytest.MonkeyPatch) -> MemoryHistory:
    """A history of 202 events; frames hold 40, calls 30 events."""
    monkeypatch.setattr(moving, "FRAME", 40)
    monkeypatch.setattr(moving, "WINDOW", 30)
    history = MemoryHistory()
    await filled(history, 200)
    return history


@pytest.fixture(params=["memory", "sqlite"])
async def target(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[History]:
    """Where an archive is brought in."""
    if request.param == "memory":
        yield MemoryHistory()
        return
    async with SqliteHistory(tmp_path / "target.db") as history:
        yield history


async def test_all_of_it_comes_back_to_the_byte(source: MemoryHistory, target: History, tmp_path: Path) -> None:
    """Ids, versions, times, data; twice is as once, also into the history that it came from; and zstd reads it."""
    heard: list[int] = []
    path = tmp_path / "all.ndjson.zst"
    written = await export(source, path, report=heard.append)
    assert (written.events, written.ended, heard) == (202, True, [40, 80, 120, 160, 200, 202])
    for history in (target, target, source):
        assert (await bring_in(history, path)).digest == written.digest
        assert await contents(history) == await contents(source)
    unpacked = zstandard.ZstdDecompressor().stream_reader(path.read_bytes(), read_across_frames=True).read()
    found = [orjson.loads(line) for line in unpacked.splitlines()]
    assert [line["id"] for line in found if "id" in line][:3] == ["e0", "e1", "e2"]
    assert found[-1] == {"end": True, "events": 202, "digest": written.digest}


async def test_one_category_is_that_category(source: MemoryHistory, target: History, tmp_path: Path) -> None:
    """Its streams whole, and no others."""
    await export(source, tmp_path / "one.zst", category="other")
    await bring_in(target, tmp_path / "one.zst")
    assert await contents(target) == await contents(source, "other")


async def test_a_later_archive_is_brought_in_behind_an_earlier_one(
    source: MemoryHistory, target: History, tmp_path: Path
) -> None:
    """What is there is passed over, also where it ended within a run of one stream."""
    await source.append([AppendRequest("long-1", [event(n) for n in range(1000, 1013)])])
    await export(source, tmp_path / "early.zst")
    await source.append([AppendRequest("long-1", [event(n) for n in range(1013, 1030)])])
    await filled(source, 50, first=300)
    await export(source, tmp_path / "late.zst")
    for name in ("early", "late", "early"):
        await bring_in(target, tmp_path / f"{name}.zst")
    assert await contents(target) == await contents(source)


async def test_a_file_that_is_cut_short_anywhere_is_refused_and_gone_on_with(
    source: MemoryHistory, tmp_path: Path
) -> None:
    """Nothing is brought in of it; the export that goes on gives the very events, those of later not among them."""
    path, part = tmp_path / "all.zst", tmp_path / "part.zst"
    whole = await export(source, path)
    await filled(source, 20, first=500)
    data = path.read_bytes()
    beginning = next(end for _, end in archive._frames(path))
    for size in range(1, len(data), len(data) // 25):
        part.write_bytes(data[:size])
        target = MemoryHistory()
        with pytest.raises((CutShort, Invalid)):
            await bring_in(target, part)
        assert await contents(target) == {}
        if size < beginning:
            with pytest.raises(Invalid, match="beginning"):
                await export(source, part, resume=True)
            continue
        again = await export(source, part, resume=True)
        assert (again.events, again.digest) == (whole.events, whole.digest)


async def test_a_whole_one_is_left_as_it_is(source: MemoryHistory, tmp_path: Path) -> None:
    """To resume it does nothing; without that it is not written over."""
    path = tmp_path / "all.zst"
    await export(source, path)
    before = path.read_bytes()
    await export(source, path, resume=True)
    assert path.read_bytes() == before
    with pytest.raises(Invalid, match="exists"):
        await export(source, path)
    with pytest.raises(Invalid, match="category"):
        await export(source, path, category="thing", resume=True)


async def test_a_changed_bit_is_seen_or_changes_nothing(source: MemoryHistory, tmp_path: Path) -> None:
    """By the checksum of its frame, but for the bits that zstd does not use: with those the same is read."""
    path = tmp_path / "all.zst"
    await export(source, path)
    data = path.read_bytes()
    whole = list(archive._frames(path))
    seen = 0
    for position in range(0, len(data), 3):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            check(path)
        except Invalid:
            seen += 1
        else:
            assert list(archive._frames(path)) == whole
    assert seen > len(data) // 4


async def test_a_missing_frame_is_seen(source: MemoryHistory, tmp_path: Path) -> None:
    """By count and digest."""
    path = tmp_path / "all.zst"
    await export(source, path)
    data = path.read_bytes()
    ends = [end for _, end in archive._frames(_written(path, data))]
    _written(path, data[: ends[1]] + data[ends[2] :])
    with pytest.raises(CutShort, match="behind 40 events"):
        check(path)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


async def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    """Text, nothing, another format, and a frame that unpacks to too much."""
    pack = zstandard.ZstdCompressor().compress
    for data in (b"text", b"", pack(b"{}"), pack(b'{"archive":9}'), pack(b"0" * (archive.FRAME_BYTES + 1))):
        with pytest.raises(Invalid, match=r"x\.zst"):
            check(_written(tmp_path / "x.zst", data))


async def test_a_stream_that_went_another_way_is_not_touched(
    source: MemoryHistory, target: History, tmp_path: Path
) -> None:
    """The refusal names the stream and the version."""
    await target.append([AppendRequest("thing-1", [event(999_999)])])
    await export(source, tmp_path / "all.zst")
    with pytest.raises(VersionConflict, match="thing-1 from version 1"):
        await bring_in(target, tmp_path / "all.zst")
    assert [e.id async for e in target.read("thing-1")] == ["e999999"]


async def test_known_at_is_the_end_of_an_archive(tmp_path: Path) -> None:
    """What is recorded later is not in it."""
    clock = ManualClock(NOON)
    history = MemoryHistory(clock)
    await history.append([AppendRequest("thing-1", [event(1)])])
    clock.advance(10**9)
    written = await export(history, tmp_path / "x.zst")
    assert written.events == 1


async def order(history: History) -> list[str]:
    """The ids of all events in the order of recording."""
    return [e.id async for e in history.read_category(None, ReadQuery(deleted=True))]


async def test_many_streams_come_back_in_their_order(source: MemoryHistory, target: History, tmp_path: Path) -> None:
    """Who reads all streams finds the events as they stood, also those of streams that took turns in one call."""
    await export(source, tmp_path / "all.zst")
    await bring_in(target, tmp_path / "all.zst")
    assert await order(target) == await order(source)


class Calls(MemoryHistory):
    """A history that knows what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[AppendRequest]] = []

    async def append(self, requests: Sequence[AppendRequest]) -> list[AppendOutcome]:
        """Write down and append."""
        self.calls.append(list(requests))
        return await super().append(requests)


async def test_an_effect_goes_after_its_cause(tmp_path: Path) -> None:
    """Not in one call with it: their streams may be in partitions that do not wait for each other."""
    source, target = MemoryHistory(), Calls()
    cause, other = event(1), event(3)
    effect = replace(event(2), causation_id=cause.id)
    follow_up = replace(event(4), causation_id=effect.id)
    last = replace(event(5), causation_id=other.id)
    for stream, one in (("a-1", cause), ("c-1", other), ("b-1", effect), ("b-1", follow_up), ("b-1", last)):
        await source.append([AppendRequest(stream, [one])])
    await export(source, tmp_path / "x.zst")
    await bring_in(target, tmp_path / "x.zst")
    ids = [[[e.id for e in request.events] for request in call] for call in target.calls]
    assert ids == [[["e1"], ["e3"]], [["e2", "e4", "e5"]]]


async def test_an_effect_within_a_run_goes_after_its_cause(tmp_path: Path) -> None:
    """Also where its own stream had begun before."""
    source, target = MemoryHistory(), Calls()
    for stream, one in (("a-1", event(1)), ("b-1", event(2)), ("b-1", replace(event(3), causation_id="e1"))):
        await source.append([AppendRequest(stream, [one])])
    await export(source, tmp_path / "x.zst")
    await bring_in(target, tmp_path / "x.zst")
    assert [[e.id for request in call for e in request.events] for call in target.calls] == [["e1", "e2"], ["e3"]]


async def test_a_call_ends_where_a_stream_comes_again(source: MemoryHistory, tmp_path: Path) -> None:
    """Of one that went another way at the end nothing more is appended, though what follows would fit its version."""
    target = Calls()
    await source.append([AppendRequest("x-1", [event(1000)])])
    await export(source, tmp_path / "early.zst")
    await bring_in(target, tmp_path / "early.zst")
    await target.append([AppendRequest("x-1", [event(2000)])])
    for stream, number in (("x-1", 1001), ("y-1", 1002), ("x-1", 1003)):
        await source.append([AppendRequest(stream, [event(number)])])
    await export(source, tmp_path / "late.zst")
    with pytest.raises(VersionConflict, match="x-1 from version 2"):
        await bring_in(target, tmp_path / "late.zst")
    assert [e.id async for e in target.read("x-1")] == ["e1000", "e2000"]
    assert all(len({r.stream for r in call}) == len(call) for call in target.calls)


async def test_no_call_is_too_large(tmp_path: Path) -> None:
    """Twenty events of 200 KiB go three at a time: a request of 1 MiB would be refused."""
    source, target = MemoryHistory(), Calls()
    for number in range(20):
        large = replace(event(number), data=b'"%s"' % (b"x" * 200 * 1024), content_type="application/json")
        await source.append([AppendRequest("large-1", [large])])
    await export(source, tmp_path / "x.zst")
    await bring_in(target, tmp_path / "x.zst")
    assert [sum(len(request.events) for request in call) for call in target.calls] == [3] * 6 + [2]
    assert await contents(target) == await contents(source)
