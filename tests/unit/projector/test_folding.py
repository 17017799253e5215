# SPDX-License-Identifier: Apache-2.0
"""Folding batches into views, on the memory store."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import nerv
from nerv.app.specs import Window
from nerv.errors import Unavailable
from nerv.projections import Projection
from nerv.protocols.views import Cursor, Epoch, Move
from nerv.testing.memory_views import MemoryViews
from nerv_projector import folding
from nerv_projector.folding import FoldHop, FoldSession
from nerv_projector.lanes import StartOver
from nerv_projector.meter import WINDOW_SECONDS
from nerv_projector.model import origin_position
from nerv_projector.records import parse, rekeyed
from tests.unit.projector.records_in_memory import Kept, Record, Told, event, record

HISTORY, REKEYED = "m.history.v1", "m.rekeyed.airports.v1"
EPOCH = Epoch("now", {HISTORY: "id"})
ZERO = Cursor("id", 0)

app = nerv.App("test")


@app.event("trip.v1")
class Trip(nerv.Event):
    """From somewhere to somewhere."""

    dest: str
    minutes: int = 1


@app.projection("plane", on=["trip.v1"])
def plane(state: dict[str, Any] | None, event: Trip) -> dict[str, Any]:
    """Adds up; thirteen minutes are not taken."""
    if event.minutes == 13:
        raise ValueError("thirteen")
    return {"minutes": (state or {"minutes": 0})["minutes"] + event.minutes}


@app.projection("spoiler", on=["trip.v1"], category="plane")
def spoiler(state: dict[str, Any] | None, event: Trip) -> dict[str, Any]:
    """Adds up in place, which no fold should."""
    state = state or {"minutes": 0}
    state["minutes"] += event.minutes
    if event.minutes == 13:
        raise ValueError("thirteen")
    return state


@app.projection("airports", on=["trip.v1"], key="dest")
def airports(state: dict[str, Any] | None, event: Trip) -> dict[str, Any]:
    """Counts."""
    return {"trips": (state or {"trips": 0})["trips"] + 1}


def both(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Two parts as one."""
    return {"minutes": left["minutes"] + right["minutes"]}


@app.projection("flown", on=["trip.v1"], merge=both)
def flown(state: dict[str, Any] | None, event: Trip) -> dict[str, Any]:
    """Of all planes."""
    return plane(state, event)


@app.projection("hourly", on=["trip.v1"], category="plane", window=Window(seconds=7200, grace=3600))
def hourly(state: dict[str, Any] | None, event: Trip) -> dict[str, Any]:
    """In windows of two hours."""
    return plane(state, event)


class Bench:
    """A session of one projection on two partitions of a memory store."""

    def __init__(self, name: str, cache: int = 100) -> None:
        self.views = MemoryViews()
        self.letters = Kept()
        self.told = Told()
        topic = REKEYED if name == "airports" else HISTORY
        projection: Projection[Any] = Projection(app, app.projections[name])
        self.hop = FoldHop(projection, self.views, self.letters, self.told, topic, "m.projector", cache)

    async def open(self, *, behind: bool = False) -> FoldSession:
        """The session, in an epoch that has begun, fed by a consumer that is always behind, or never."""
        await self.views.begin(EPOCH, {0: ZERO, 1: ZERO}, instead_of=None)
        session, _ = await self.hop.open(EPOCH, frozenset({0, 1}))
        assert isinstance(session, FoldSession)
        consumer: Any = SimpleNamespace(behind=behind)  # nothing else is asked of it
        session.attach(consumer)
        return session

    async def states(self) -> dict[str, tuple[int, bytes]]:
        """Version and state of every view."""
        return {key: (view.version, view.state) for key, view in await self.views.page(EPOCH, None, 1000)}

    async def offsets(self) -> dict[int, int]:
        """Where the cursors are."""
        progress = await self.views.progress(EPOCH)
        return {p: Cursor.from_bytes(stored).next_offset for p, stored in progress.cursors.items()}


async def done(session: FoldSession, records: Sequence[Record]) -> None:
    """Have a batch folded, and wait until it is durable."""
    await session.take([*records])
    await session.settle()


def trip(plane_: str, offset: int, minutes: int = 1, partition: int = 0) -> Record:
    """A trip in history."""
    data = {"dest": "LAX", "minutes": minutes}
    return record(event("trip.v1", f"plane-{plane_}", data, offset + 1), offset=offset, partition=partition)


def rekeyed_trip(key: str, offset: int, origin: tuple[str, int, int]) -> Record:
    """A trip as the rekeyer writes it."""
    source = trip("N1", 5)
    source.value_ = event("trip.v1", "plane-N1", {"dest": key}).data
    made = rekeyed(REKEYED, key, (parse(source), source), origin, None)
    return Record(REKEYED, 0, offset, made.key, made.value, list(made.headers))


async def test_a_batch_is_folded_and_covered() -> None:
    """Views, cursors and the count of events move together, over partitions."""
    bench = Bench("plane")
    session = await bench.open()
    await done(session, [trip("N1", 0, 5), trip("N2", 0, 7, partition=1), trip("N1", 3, 6)])
    assert await bench.states() == {"N1": (2, b'{"minutes":11}'), "N2": (1, b'{"minutes":7}')}
    assert await bench.offsets() == {0: 4, 1: 1}
    assert (await bench.views.progress(EPOCH)).folded == 3


async def test_a_batch_that_was_folded_by_half_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """When Redis goes away in the middle of a batch, the keys that were done by then stay as they were, too."""
    bench = Bench("plane")
    session = await bench.open()
    await done(session, [trip("N1", 0)])

    async def away(*_: Any) -> dict[str, Any]:
        raise Unavailable("away")

    monkeypatch.setattr(bench.views, "load", away)
    with pytest.raises(Unavailable):
        await session.take([trip("N1", 1), trip("N1", 2), trip("N1", 3, 13)])
    with pytest.raises(StartOver):
        await session.rest({(HISTORY, 0): 5})
    assert await bench.states() == {"N1": (1, b'{"minutes":1}')}
    assert await bench.offsets() == {0: 1, 1: 0}


async def test_a_batch_goes_on_from_the_one_before() -> None:
    """Also for keys that the cache has let go."""
    bench = Bench("plane", cache=1)
    session = await bench.open()
    await done(session, [trip("N1", 0), trip("N2", 1)])
    await done(session, [trip("N1", 2), trip("N2", 3)])
    assert await bench.states() == {"N1": (2, b'{"minutes":2}'), "N2": (2, b'{"minutes":2}')}


async def test_records_that_are_covered_are_passed_over() -> None:
    """A redelivered batch changes nothing."""
    bench = Bench("plane")
    session = await bench.open()
    batch = [trip("N1", 0), trip("N1", 1)]
    await done(session, batch)
    await done(session, batch)
    assert await bench.states() == {"N1": (2, b'{"minutes":2}')}


async def test_a_deposed_session_starts_over() -> None:
    """When another owner has moved a cursor, nothing is written and nobody is told that it was."""
    bench = Bench("plane")
    session = await bench.open()
    moved = Move(ZERO.to_bytes(), Cursor("id", 9))
    await bench.views.apply(EPOCH, {0: moved}, {})
    with pytest.raises(StartOver):
        await done(session, [trip("N1", 0)])
    assert await bench.states() == {}


async def test_a_partition_without_a_cursor_is_not_taken_up() -> None:
    """A store that has lost a cursor has to begin a new epoch first."""
    bench = Bench("plane")
    await bench.open()
    with pytest.raises(StartOver):
        await bench.hop.open(EPOCH, frozenset({0, 7}))


async def test_poison_parks_its_key_and_the_partition_goes_on() -> None:
    """The key stays as before the event, which is in the dead letters once; other keys are folded, now and later."""
    bench = Bench("plane")
    session = await bench.open()
    await done(session, [trip("N1", 0, 2), trip("N1", 1, 13), trip("N2", 2, 3), trip("N1", 3, 2)])
    await done(session, [trip("N1", 4, 2), trip("N2", 5, 3)])
    assert await bench.states() == {"N1": (1, b'{"minutes":2}'), "N2": (2, b'{"minutes":6}')}
    assert bench.letters.letters == [("ValueError: thirteen", "fold-plane")]
    view = (await bench.views.load(EPOCH, ["N1"]))["N1"]
    assert view.parked is not None
    assert view.parked["position"] == "m.history.v1/0/1"
    assert await bench.offsets() == {0: 6, 1: 0}
    assert (await bench.views.progress(EPOCH)).folded == 3
    meter = bench.hop.meter
    assert [(meter.errors(p), meter.rate(p) * WINDOW_SECONDS) for p in (0, 1)] == [(1, 3), (0, 0)]


async def test_a_fold_that_spoils_the_state_it_is_given_does_no_harm() -> None:
    """A fold should be pure; when one is not and raises, the key is folded again from the store."""
    bench = Bench("spoiler")
    session = await bench.open()
    await done(session, [trip("N1", 0, 2)])
    await done(session, [trip("N1", 1, 3), trip("N1", 2, 13)])
    assert await bench.states() == {"N1": (2, b'{"minutes":5}')}


async def test_a_parked_key_stays_parked_after_a_restart() -> None:
    """The store remembers it, not the memory of the session."""
    bench = Bench("plane")
    await done(await bench.open(), [trip("N1", 0, 13)])
    session = await bench.open()
    await done(session, [trip("N1", 1)])
    assert await bench.states() == {"N1": (0, b"null")}


async def test_an_event_that_does_not_fit_its_schema_parks_its_key() -> None:
    """The key is known from the stream, so that no later event is folded past it."""
    bench = Bench("plane")
    session = await bench.open()
    bad = record(event("trip.v1", "plane-N1", b'{"dest":1}'), offset=0)
    await done(session, [bad, trip("N1", 1)])
    assert await bench.states() == {"N1": (0, b"null")}
    assert bench.letters.letters[0][0].startswith("SchemaMismatch")


async def test_a_record_that_is_no_event_is_skipped() -> None:
    """It has no key to park; it goes to the dead letters, and the partition goes on."""
    bench = Bench("plane")
    session = await bench.open()
    await done(session, [Record(HISTORY, 0, 0, b"x", b"x", [("ce_id", b"1")]), trip("N1", 1)])
    assert await bench.states() == {"N1": (1, b'{"minutes":1}')}
    assert len(bench.letters.letters) == 1


async def test_doubles_of_the_rekeyer_are_dropped() -> None:
    """By origin, in the same batch and in a later one; the second key of the same event is no double."""
    bench = Bench("airports")
    session = await bench.open()
    first, second = ("now", 3, origin_position(5, 0)), ("now", 3, origin_position(5, 1))
    await done(session, [rekeyed_trip("LAX", 0, first), rekeyed_trip("LAX", 1, first), rekeyed_trip("JFK", 2, second)])
    await done(session, [rekeyed_trip("LAX", 7, first), rekeyed_trip("JFK", 8, second)])
    assert await bench.states() == {"JFK": (1, b'{"trips":1}'), "LAX": (1, b'{"trips":1}')}


async def test_origins_survive_a_restart() -> None:
    """They are part of the cursor."""
    bench = Bench("airports")
    origin = ("now", 3, origin_position(5, 0))
    await done(await bench.open(), [rekeyed_trip("LAX", 0, origin)])
    session = await bench.open()
    await done(session, [rekeyed_trip("LAX", 1, origin)])
    assert await bench.states() == {"LAX": (1, b'{"trips":1}')}


async def test_records_of_another_epoch_are_passed_over() -> None:
    """What an earlier life rekeyed is not folded into this one."""
    bench = Bench("airports")
    session = await bench.open()
    await done(session, [rekeyed_trip("LAX", 0, ("before", 3, origin_position(5, 0)))])
    assert await bench.states() == {}
    assert await bench.offsets() == {0: 1, 1: 0}


async def test_the_cursor_moves_over_marks_at_the_end() -> None:
    """So that the lag of a partition that ends in a transaction's mark is 0."""
    bench = Bench("plane")
    session = await bench.open()
    await done(session, [trip("N1", 0)])
    ended = {(HISTORY, 0): 2, (HISTORY, 1): 0}
    assert session.at_end(ended)
    await session.rest(ended)
    assert await bench.offsets() == {0: 2, 1: 0}
    assert not session.at_end(ended)


async def test_deltas_say_from_which_version_to_which() -> None:
    """One for each key of a batch, before its view is written; a parked key tells what was folded before."""
    bench = Bench("plane")
    session = await bench.open()
    await done(session, [trip("N1", 0, 2), trip("N2", 1, 3), trip("N1", 2, 5)])
    await done(session, [trip("N1", 3, 1), trip("N1", 4, 13), trip("N2", 5, 13)])
    added = [[[], [None], [{"minutes": 7}]]]
    assert bench.told.changes == [
        ("N1", 0, 2, added),
        ("N2", 0, 1, [[[], [None], [{"minutes": 3}]]]),
        ("N1", 2, 3, [[["minutes"], [7], [8]]]),
    ]


async def test_batches_are_written_in_order_while_the_next_is_folded() -> None:
    """Three batches that nobody waits for come to the same as one."""
    bench = Bench("plane", cache=1)
    session = await bench.open()
    for offset in range(0, 6, 2):
        await session.take([trip("N1", offset, 1), trip("N2", offset + 1, 1)])
    await session.settle()
    assert await bench.states() == {"N1": (3, b'{"minutes":3}'), "N2": (3, b'{"minutes":3}')}


async def test_batches_behind_which_more_wait_are_written_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a while: one delta of each key leads over all, and views, cursors and counts say what one batch would."""
    monkeypatch.setattr(folding, "TOGETHER_SECONDS", 600.0)
    bench = Bench("plane", cache=1)
    session = await bench.open(behind=True)
    n = 5
    for at in range(n):
        assert bench.told.changes == []
        if at == n - 1:
            monkeypatch.setattr(folding, "TOGETHER_SECONDS", -1.0)  # the while is over
        await session.take([trip("N1", 3 * at), trip("N2", 3 * at + 1), trip("N3", at, 2, partition=1)])
    await session.take([trip("N1", 100)])
    assert await bench.offsets() == {0: 3 * n - 1, 1: n}
    await session.settle()
    assert bench.told.changes == [
        ("N1", 0, n, [[[], [None], [{"minutes": n}]]]),
        ("N2", 0, n, [[[], [None], [{"minutes": n}]]]),
        ("N3", 0, n, [[[], [None], [{"minutes": 2 * n}]]]),
        ("N1", n, n + 1, [[["minutes"], [n], [n + 1]]]),
    ]
    assert await bench.states() == {
        "N1": (n + 1, b'{"minutes":%d}' % (n + 1)),
        "N2": (n, b'{"minutes":%d}' % n),
        "N3": (n, b'{"minutes":%d}' % (2 * n)),
    }
    assert await bench.offsets() == {0: 101, 1: n}
    assert (await bench.views.progress(EPOCH)).folded == 3 * n + 1


async def test_what_waits_for_more_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes any more, though it seemed so, it is written by who looks after the ends of partitions."""
    monkeypatch.setattr(folding, "TOGETHER_SECONDS", 600.0)
    bench = Bench("plane")
    session = await bench.open(behind=True)
    await session.rest({})  # that the version is live is told
    await session.take([trip("N1", 0)])
    assert not session.at_end({})
    monkeypatch.setattr(folding, "TOGETHER_SECONDS", -1.0)
    assert session.at_end({})
    await session.rest({})
    assert await bench.offsets() == {0: 1, 1: 0}
    assert not session.at_end({})


async def test_no_more_views_are_written_as_one_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that would make them too many waits for what was folded before it."""
    monkeypatch.setattr(folding, "TOGETHER_VIEWS", 2)
    bench = Bench("plane")
    session = await bench.open(behind=True)
    await session.take([trip("N1", 0), trip("N2", 1)])
    await session.take([trip("N2", 2)])
    assert bench.told.changes == []
    await session.take([trip("N3", 3)])
    await session.settle()
    assert [change[:3] for change in bench.told.changes] == [("N1", 0, 1), ("N2", 0, 2), ("N3", 0, 1)]


async def test_a_key_is_parked_on_top_of_what_waits_to_be_written() -> None:
    """What was folded of it before counts, though it stands nowhere yet and the fold spoils what it is given."""
    bench = Bench("spoiler")
    session = await bench.open(behind=True)
    await session.take([trip("N1", 0, 2)])
    await session.take([trip("N1", 1, 3), trip("N1", 2, 13), trip("N2", 3, 1)])
    await session.take([trip("N1", 4, 5), trip("N2", 5, 1)])
    await session.settle()
    assert await bench.states() == {"N1": (2, b'{"minutes":5}'), "N2": (2, b'{"minutes":2}')}
    assert (await bench.views.load(EPOCH, ["N1"]))["N1"].parked is not None
    assert bench.letters.letters == [("ValueError: thirteen", "fold-spoiler")]
    assert (await bench.views.progress(EPOCH)).parked == 1


async def test_what_waits_to_be_written_is_folded_again_by_the_next_session() -> None:
    """A session that ends writes nothing more: the cursors stand where they stood."""
    bench = Bench("plane")
    first = await bench.open(behind=True)
    await first.take([trip("N1", 0)])
    await first.close()
    assert await bench.offsets() == {0: 0, 1: 0}
    await done(await bench.open(), [trip("N1", 0), trip("N1", 1)])
    assert await bench.states() == {"N1": (2, b'{"minutes":2}')}


async def test_what_could_not_be_written_is_told_to_the_next_who_asks() -> None:
    """A session whose batch was refused rests never: whoever feeds it hears of it, also when no more records come."""
    bench = Bench("plane")
    session = await bench.open()
    await bench.views.apply(EPOCH, {0: Move(ZERO.to_bytes(), Cursor("id", 9))}, {})
    await session.take([trip("N1", 0)])
    while not session.at_end({}):  # noqa: ASYNC110 - as the lane asks
        await asyncio.sleep(0)
    with pytest.raises(StartOver):
        await session.rest({})


async def test_a_merged_projection_folds_a_part_for_each_partition() -> None:
    """The parts are merged when they are read, so that no two partitions write one key."""
    bench = Bench("flown")
    session = await bench.open()
    await done(session, [trip("N1", 0, 5), trip("N2", 0, 7, partition=1), trip("N3", 1, 6)])
    assert await bench.states() == {"0": (2, b'{"minutes":11}'), "1": (1, b'{"minutes":7}')}
    parts = [data for _, data in (await bench.states()).values()]
    assert bench.hop.projection.merge(parts) == b'{"minutes":18}'


async def test_windows_take_late_events_as_long_as_the_grace_lasts() -> None:
    """Each window has a state; what comes later than that is in the dead letters, and after a restart, too."""
    bench = Bench("hourly")
    session = await bench.open()
    # `trip` happens as many hours into 2013 as its offset says, and one.
    hours = [trip("N1", 1, 5), trip("N1", 2, 7), trip("N1", 5, 1)]
    late = [trip("N1", 4, 2), trip("N1", 0, 9)]
    for offset, record_ in enumerate([*hours, *late]):
        record_.offset_ = offset
    await done(session, [*hours, late[0]])
    session = await bench.open()
    await done(session, [late[1]])
    assert await bench.states() == {
        "N1@2013-01-01T02:00:00.000000Z": (2, b'{"minutes":12}'),
        "N1@2013-01-01T04:00:00.000000Z": (1, b'{"minutes":2}'),
        "N1@2013-01-01T06:00:00.000000Z": (1, b'{"minutes":1}'),
    }
    assert bench.letters.letters == [("late: 18000 s behind the latest event, and the grace is 3600 s", "fold-hourly")]


async def test_a_version_that_goes_live_says_so_before_its_first_delta() -> None:
    """What it folded before is told by nobody: whoever follows reads the views then. Said once each time."""
    bench = Bench("plane")
    bench.told.live = None
    session = await bench.open()
    await done(session, [trip("N1", 0, 5)])
    assert (bench.told.changes, bench.told.said) == ([], [])
    assert not session.at_end({})
    bench.told.live = 7
    await done(session, [trip("N1", 1, 6)])
    await done(session, [trip("N1", 2, 6)])
    assert [change[:3] for change in bench.told.changes] == [("N1", 1, 2), ("N1", 2, 3)]
    assert bench.told.said == [0]
    bench.told.live = 9  # another was live in between, and this one heard of it late
    assert session.at_end({})


async def test_a_version_that_goes_live_while_nothing_comes_says_so_all_the_same() -> None:
    """When its session rests, after all that was in hand is written."""
    bench = Bench("plane")
    bench.told.live = None
    session = await bench.open()
    await done(session, [trip("N1", 0, 5)])
    bench.told.live = 7
    assert session.at_end({})
    await session.rest({})
    assert bench.told.said == [0]
    assert not session.at_end({})
    assert (await bench.states())["N1"] == (1, b'{"minutes":5}')
