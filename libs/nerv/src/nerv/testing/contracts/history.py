# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.History` promises."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from nerv.errors import Conflict, Gone, IdConflict, Invalid, NotFound, VersionConflict
from nerv.history.lifecycle import MARKS
from nerv.protocols import Appended, AppendOutcome, AppendRequest, Expected, History, Latest, ReadQuery
from nerv.protocols.history import Expect
from nerv.types import Event, EventType, new_event_id, utc_now

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


def made(
    data: bytes = b'{"n":1}', *, time: datetime = NOON, event_type: str = "thing.noted.v1", event_id: str = ""
) -> Event[bytes]:
    """An event with an id of its own."""
    return Event(event_id or new_event_id(), "contract", event_type, time, data)


def mark(kind: str, time: datetime | None = None) -> Event[bytes]:
    """An event that deletes, reopens or tombstones its stream."""
    return made(b'{"reason":"a test"}', time=time or NOON, event_type=kind)


def fresh(category: str = "thing") -> str:
    """A stream nobody has written to."""
    return f"{category}-{uuid.uuid4().hex}"


def fresh_category() -> str:
    """A category nobody has written to."""
    return f"c{uuid.uuid4().hex[:12]}"


async def one(history: History, request: AppendRequest) -> AppendOutcome:
    """The outcome of a single request."""
    [outcome] = await history.append([request])
    return outcome


async def done(history: History, request: AppendRequest) -> Appended:
    """The outcome of a request that must be done."""
    outcome = await one(history, request)
    assert isinstance(outcome, Appended), outcome
    return outcome


class HistoryContract:
    """Inherit it and give a fixture `history`."""

    async def test_versions_count_from_one_without_a_gap(self, history: History) -> None:
        """Each append goes on where the last one ended."""
        stream = fresh()
        first = await done(history, AppendRequest(stream, [made(), made()]))
        second = await done(history, AppendRequest(stream, [made()]))
        assert (first.first_version, first.last_version) == (1, 2)
        assert (second.first_version, second.last_version) == (3, 3)
        assert [e.sequence async for e in history.read(stream)] == [1, 2, 3]

    async def test_what_is_read_is_what_was_appended(self, history: History) -> None:
        """Data, time, type, source and the correlation come back as they were; the stream is the subject."""
        stream = fresh()
        event = Event(
            new_event_id(), "contract", "thing.noted.v1", NOON, b'{"n": 7}', correlation_id="c-1", causation_id="c-0"
        )
        await done(history, AppendRequest(stream, [event]))
        [read] = [e async for e in history.read(stream)]
        assert (read.id, read.source, read.type, read.time, read.data) == (
            event.id,
            event.source,
            event.type,
            NOON,
            event.data,
        )
        assert (read.correlation_id, read.causation_id, read.subject) == ("c-1", "c-0", stream)

    @pytest.mark.parametrize(
        ("expected", "on_new", "on_old"),
        [
            (Expected(), True, True),
            (Expected(Expect.NONE), True, False),
            (Expected(Expect.EXISTS), False, True),
            (Expected(Expect.EXACT, 0), True, False),
            (Expected(Expect.EXACT, 1), False, True),
            (Expected(Expect.EXACT, 2), False, False),
        ],
    )
    async def test_the_expected_version_decides(
        self, history: History, expected: Expected, on_new: bool, on_old: bool
    ) -> None:
        """any, none, exists and exact are met or refused, on a stream that is new and on one at version 1."""
        new, old = fresh(), fresh()
        await done(history, AppendRequest(old, [made()]))
        for stream, wanted in ((new, on_new), (old, on_old)):
            outcome = await one(history, AppendRequest(stream, [made()], expected))
            assert isinstance(outcome, Appended if wanted else VersionConflict), (stream, outcome)

    async def test_a_refusal_writes_nothing(self, history: History) -> None:
        """All events of a refused request stay out."""
        stream = fresh()
        await done(history, AppendRequest(stream, [made()]))
        await one(history, AppendRequest(stream, [made(), made()], Expected(Expect.EXACT, 7)))
        assert [e.sequence async for e in history.read(stream)] == [1]

    async def test_a_deleted_stream_is_gone_until_it_is_reopened(self, history: History) -> None:
        """It is neither read nor written, but for those who ask for deleted ones; its versions go on counting."""
        stream, first = fresh(), made()
        await done(history, AppendRequest(stream, [first]))
        deleted = await done(
            history, AppendRequest(stream, [mark(EventType.STREAM_DELETED)], Expected(Expect.EXACT, 1))
        )
        assert deleted.last_version == 2
        with pytest.raises(Gone, match="reopen"):
            _ = [e async for e in history.read(stream)]
        for expected in (Expected(), Expected(Expect.NONE), Expected(Expect.EXISTS), Expected(Expect.EXACT, 2)):
            assert isinstance(await one(history, AppendRequest(stream, [made()], expected)), Gone)
        assert isinstance(await one(history, AppendRequest(stream, [mark(EventType.STREAM_DELETED)])), Gone)
        assert (await done(history, AppendRequest(stream, [first]))).duplicate
        assert [e.sequence async for e in history.read(stream, ReadQuery(deleted=True))] == [1, 2]
        assert [e.sequence async for e in history.read_category(None, ReadQuery(streams=frozenset({stream})))] == [1, 2]
        reopening = AppendRequest(stream, [mark(EventType.STREAM_REOPENED)], Expected(Expect.EXACT, 1))
        assert isinstance(await one(history, reopening), VersionConflict)
        await done(history, AppendRequest(stream, [mark(EventType.STREAM_REOPENED)], Expected(Expect.EXACT, 2)))
        await done(history, AppendRequest(stream, [made()], Expected(Expect.EXACT, 3)))
        assert [e.sequence async for e in history.read(stream)] == [1, 2, 3, 4]

    async def test_a_tombstone_is_for_ever(self, history: History) -> None:
        """Of an open stream or of a deleted one: nothing is written behind it, and history can still be read."""
        for before in ([], [EventType.STREAM_DELETED]):
            stream = fresh()
            await done(history, AppendRequest(stream, [made()]))
            for kind in (*before, EventType.STREAM_TOMBSTONED):
                await done(history, AppendRequest(stream, [mark(kind)]))
            for event in (made(), *map(mark, MARKS)):
                outcome = await one(history, AppendRequest(stream, [event]))
                assert isinstance(outcome, Gone), outcome
                assert outcome.errors[0]["mark"] == EventType.STREAM_TOMBSTONED
            with pytest.raises(Gone, match="never"):
                _ = [e async for e in history.read(stream)]
            assert len([e async for e in history.read(stream, ReadQuery(deleted=True))]) == 2 + len(before)

    async def test_before_it_was_deleted_a_stream_is_there(self, history: History) -> None:
        """As known at a recorded instant before, or as of a valid one, it reads as it did."""
        stream = fresh()
        await done(history, AppendRequest(stream, [made()]))
        known = (await done(history, AppendRequest(stream, [made(time=NOON + timedelta(hours=1))]))).recorded_time
        await done(history, AppendRequest(stream, [mark(EventType.STREAM_DELETED, NOON + timedelta(hours=2))]))
        assert [e.sequence async for e in history.read(stream, ReadQuery(known_at=known))] == [1, 2]
        assert [e.sequence async for e in history.read(stream, ReadQuery(as_of=NOON))] == [1]
        with pytest.raises(Gone):
            _ = [e async for e in history.read(stream, ReadQuery(as_of=NOON + timedelta(hours=2)))]

    async def test_marks_stand_alone_and_where_they_make_sense(self, history: History) -> None:
        """Among other events, on a stream that does not exist, or to reopen an open one, they are refused."""
        stream = fresh()
        assert isinstance(await one(history, AppendRequest(stream, [mark(EventType.STREAM_DELETED)])), NotFound)
        await done(history, AppendRequest(stream, [made()]))
        mixed = AppendRequest(stream, [made(), mark(EventType.STREAM_DELETED)])
        assert isinstance(await one(history, mixed), Invalid)
        assert isinstance(await one(history, AppendRequest(stream, [mark(EventType.STREAM_REOPENED)])), Conflict)
        assert len([e async for e in history.read(stream)]) == 1

    async def test_within_one_call_a_mark_counts_at_once(self, history: History) -> None:
        """What stands behind it in the same call is judged by it."""
        stream = fresh()
        outcomes = await history.append(
            [
                AppendRequest(stream, [made()]),
                AppendRequest(stream, [mark(EventType.STREAM_DELETED)]),
                AppendRequest(stream, [made()]),
                AppendRequest(stream, [mark(EventType.STREAM_REOPENED)]),
                AppendRequest(stream, [made()]),
            ]
        )
        assert [type(o) for o in outcomes] == [Appended, Appended, Gone, Appended, Appended]

    async def test_a_repeat_gets_the_first_answer(self, history: History) -> None:
        """Same ids and content: the same versions again, before the expected version is looked at, and no second event."""
        stream = fresh()
        request = AppendRequest(stream, [made(), made()], Expected(Expect.NONE))
        first = await done(history, request)
        await done(history, AppendRequest(stream, [made()]))
        again = await done(history, request)
        assert again.duplicate
        assert (again.first_version, again.last_version, again.recorded_time) == (1, 2, first.recorded_time)
        assert [e.sequence async for e in history.read(stream)] == [1, 2, 3]

    @pytest.mark.parametrize(
        ("first", "again"),
        [
            (Expected(), Expected()),
            (Expected(Expect.NONE), Expected(Expect.NONE)),
            (Expected(Expect.EXACT, 0), Expected(Expect.EXACT, 0)),
            (Expected(), Expected(Expect.EXISTS)),
            (Expected(), Expected(Expect.EXACT, 77)),
        ],
        ids=["any", "none", "exact", "exists", "another version"],
    )
    async def test_a_repeat_is_known_in_every_mode(self, history: History, first: Expected, again: Expected) -> None:
        """Whatever version is expected the ids come first: the stream has moved on, and the first answer holds."""
        stream, events = fresh(), [made(), made()]
        answer = await done(history, AppendRequest(stream, events, first))
        await done(history, AppendRequest(stream, [made()]))
        repeated = await done(history, AppendRequest(stream, events, again))
        assert repeated.duplicate
        assert (repeated.first_version, repeated.last_version) == (answer.first_version, answer.last_version) == (1, 2)

    async def test_ids_are_known_for_the_life_of_the_stream(self, history: History) -> None:
        """No window: the first id is still known after thousands of others."""
        stream, event = fresh(), made()
        await done(history, AppendRequest(stream, [event]))
        for _ in range(10):
            await done(history, AppendRequest(stream, [made() for _ in range(300)]))
        again = await done(history, AppendRequest(stream, [event]))
        assert (again.duplicate, again.first_version) == (True, 1)
        assert isinstance(await one(history, AppendRequest(stream, [made(b"2", event_id=event.id)])), IdConflict)

    async def test_repeats_at_once_share_one_answer(self, history: History) -> None:
        """The same request in one call and in many calls at once: one append, and the same versions for all."""
        stream = fresh()
        request = AppendRequest(stream, [made(), made()], Expected(Expect.NONE))
        answers = await asyncio.gather(*(history.append([request, request]) for _ in range(5)))
        outcomes = [outcome for answer in answers for outcome in answer]
        assert {(o.first_version, o.last_version, o.recorded_time) for o in outcomes if isinstance(o, Appended)} == {
            (1, 2, outcomes[0].recorded_time if isinstance(outcomes[0], Appended) else None)
        }
        assert [o.duplicate for o in outcomes if isinstance(o, Appended)].count(False) == 1
        assert [e.sequence async for e in history.read(stream)] == [1, 2]

    async def test_an_answer_names_a_position_that_grows(self, history: History) -> None:
        """Later appends to a stream have later positions, in the same partition; a repeat's covers the first one's."""
        stream = fresh()
        requests = [AppendRequest(stream, [made()]) for _ in range(3)]
        answers = [await done(history, request) for request in requests]
        assert len({answer.partition for answer in answers}) == 1
        assert [a.offset for a in answers] == sorted({a.offset for a in answers})
        assert (await done(history, requests[0])).offset >= answers[0].offset

    async def test_a_request_that_names_an_id_twice_is_refused(self, history: History) -> None:
        """Two events of one id in a request: IdConflict, and no stream."""
        stream, event = fresh(), made()
        assert isinstance(await one(history, AppendRequest(stream, [event, event])), IdConflict)
        with pytest.raises(NotFound):
            _ = [e async for e in history.read(stream)]

    async def test_a_repeat_in_another_order_is_refused(self, history: History) -> None:
        """The same two events the other way round are not the same request."""
        stream, first, second = fresh(), made(), made()
        await done(history, AppendRequest(stream, [first, second]))
        assert isinstance(await one(history, AppendRequest(stream, [second, first])), IdConflict)

    async def test_an_id_with_other_content_is_refused(self, history: History) -> None:
        """Same id, other data: IdConflict, and the first event stays."""
        stream, event_id = fresh(), new_event_id()
        await done(history, AppendRequest(stream, [made(b'{"n":1}', event_id=event_id)]))
        outcome = await one(history, AppendRequest(stream, [made(b'{"n":2}', event_id=event_id)]))
        assert isinstance(outcome, IdConflict)
        assert [e.data async for e in history.read(stream)] == [b'{"n":1}']

    async def test_a_repeat_of_a_part_is_refused(self, history: History) -> None:
        """One known and one new id in a request: IdConflict, and the new one stays out."""
        stream, known = fresh(), made()
        await done(history, AppendRequest(stream, [known]))
        outcome = await one(history, AppendRequest(stream, [known, made()]))
        assert isinstance(outcome, IdConflict)
        assert len([e async for e in history.read(stream)]) == 1

    async def test_ids_belong_to_their_stream(self, history: History) -> None:
        """One event may stand in two streams."""
        event = made()
        for stream in (fresh(), fresh()):
            assert not (await done(history, AppendRequest(stream, [event]))).duplicate

    async def test_requests_of_a_call_are_judged_in_order(self, history: History) -> None:
        """Each request sees those before it; one refusal harms no other."""
        stream = fresh()
        outcomes = await history.append(
            [
                AppendRequest(stream, [made()], Expected(Expect.NONE)),
                AppendRequest(stream, [made()], Expected(Expect.NONE)),
                AppendRequest(stream, [made()], Expected(Expect.EXACT, 1)),
            ]
        )
        assert [type(o) for o in outcomes] == [Appended, VersionConflict, Appended]

    async def test_of_concurrent_writers_one_wins_each_version(self, history: History) -> None:
        """Ten writers expect version 0: one is done, nine are refused."""
        stream = fresh()
        outcomes = await asyncio.gather(
            *(one(history, AppendRequest(stream, [made()], Expected(Expect.EXACT, 0))) for _ in range(10))
        )
        assert sorted(type(o).__name__ for o in outcomes) == ["Appended"] + ["VersionConflict"] * 9

    async def test_a_stream_that_does_not_exist_is_not_found(self, history: History) -> None:
        """Reading it raises NotFound."""
        with pytest.raises(NotFound):
            _ = [e async for e in history.read(fresh())]

    async def test_reads_bound_direct_and_limit(self, history: History) -> None:
        """From, to, backward and limit hold together."""
        stream = fresh()
        await done(history, AppendRequest(stream, [made() for _ in range(9)]))

        async def versions(query: ReadQuery) -> list[int | None]:
            return [e.sequence async for e in history.read(stream, query)]

        assert await versions(ReadQuery(from_version=3, to_version=5)) == [3, 4, 5]
        assert await versions(ReadQuery(backward=True, limit=2)) == [9, 8]
        assert await versions(ReadQuery(backward=True, to_version=4)) == [4, 3, 2, 1]
        assert await versions(ReadQuery(from_version=10)) == []

    async def test_types_and_both_times_select(self, history: History) -> None:
        """`types`, `as_of` (valid time) and `known_at` (recorded time) leave out what does not match."""
        stream = fresh()
        early = await done(history, AppendRequest(stream, [made(time=NOON + timedelta(hours=1))]))
        await done(history, AppendRequest(stream, [made(time=NOON, event_type="thing.closed.v1")]))

        async def versions(query: ReadQuery) -> list[int | None]:
            return [e.sequence async for e in history.read(stream, query)]

        assert await versions(ReadQuery(types=frozenset({"thing.closed.v1"}))) == [2]
        assert await versions(ReadQuery(as_of=NOON)) == [2]
        assert await versions(ReadQuery(known_at=early.recorded_time)) == [1]
        assert await versions(ReadQuery(as_of=NOON, known_at=early.recorded_time)) == []

    async def test_the_newest_events_of_many_streams_are_had_at_once(self, history: History) -> None:
        """Each with the version of its stream and the latest time in it; of some types; also of a stream that was deleted."""
        category = fresh_category()
        late = NOON + timedelta(hours=1)
        requests = [
            AppendRequest(f"{category}-{n}", [made(b"%d" % n, time=late), made(event_type="thing.painted.v1")])
            for n in range(600)
        ]
        await history.append([*requests, AppendRequest(f"{category}-7", [mark(EventType.STREAM_DELETED)])])
        names = [f"{category}-{number}" for number in range(-1, 600)]
        none, *noted = await history.latest(names, frozenset({"thing.noted.v1"}))
        assert none == Latest()
        assert [one.event.data for one in noted if one.event] == [b"%d" % number for number in range(600)]
        assert {one.time for one in noted} == {late}
        assert {one.version for one in noted} == {2, 3}
        [newest, deleted, again] = await history.latest([f"{category}-{n}" for n in (6, 7, 6)])
        assert newest == again
        assert [one.event and one.event.type for one in (newest, deleted)] == [
            "thing.painted.v1",
            EventType.STREAM_DELETED,
        ]
        [other] = await history.latest(names[1:2], frozenset({"other.*"}))
        assert (other.version, other.time, other.event) == (2, late, None)

    async def test_recorded_time_grows_with_the_version(self, history: History) -> None:
        """Recorded time never goes back within a stream."""
        stream = fresh()
        for _ in range(5):
            await done(history, AppendRequest(stream, [made()]))
        recorded = [e.recorded_time async for e in history.read(stream)]
        assert recorded == sorted(recorded, key=lambda t: t or NOON)
        assert len(set(recorded)) == 5

    async def test_a_category_holds_its_streams_and_no_others(self, history: History) -> None:
        """Its streams are read whole, also one of the category's own name; a longer or shorter category is another one."""
        category = fresh_category()
        for name in (f"{category}-b", f"{category}-a", category, f"{category}x-a", category[:-1]):
            await done(history, AppendRequest(name, [made(), made()]))
        found = [(e.stream, e.sequence) async for e in history.read_category(category)]
        assert sorted(found) == [(name, v) for name in (category, f"{category}-a", f"{category}-b") for v in (1, 2)]

    async def test_many_streams_are_read_in_the_order_in_which_they_were_recorded(self, history: History) -> None:
        """Forward and backward, over streams whose names sort otherwise, past a page; each event once."""
        category = fresh_category()
        for number in range(60):
            stream = f"{category}-{(number * 7) % 23}"
            await done(history, AppendRequest(stream, [made() for _ in range(30)]))
        events = [e async for e in history.read_category(category)]
        assert len({e.id for e in events}) == len(events) == 1800
        recorded = [e.recorded_time or NOON for e in events]
        assert recorded == sorted(recorded)
        for stream in {e.stream for e in events}:
            versions = [e.sequence for e in events if e.stream == stream]
            assert versions == list(range(1, len(versions) + 1))
        backward = [e.id async for e in history.read_category(category, ReadQuery(backward=True, limit=1700))]
        assert backward == [e.id for e in events[:-1701:-1]]

    async def test_patterns_select_types_and_streams(self, history: History) -> None:
        """Whole names, and beginnings that end with a star, of one stream and of many."""
        category = fresh_category()
        for name in ("a", "ab", "b"):
            kinds = ("thing.noted.v1", "thing.closed.v1", "other.noted.v1")
            events = [made(event_type=kind) for kind in kinds]
            await done(history, AppendRequest(f"{category}-{name}", events))

        async def types(*patterns: str) -> list[str]:
            query = ReadQuery(types=frozenset(patterns))
            return [e.type async for e in history.read(f"{category}-a", query)]

        async def streams(*patterns: str) -> set[str]:
            query = ReadQuery(streams=frozenset(f"{category}-{p}" for p in patterns), types=frozenset({"thing.*"}))
            return {f"{e.stream.removeprefix(category)}/{e.type}" async for e in history.read_category(category, query)}

        assert await types("thing.*") == ["thing.noted.v1", "thing.closed.v1"]
        assert await types("thing.closed.v1", "other.*") == ["thing.closed.v1", "other.noted.v1"]
        assert await types("thing", "noted") == []
        assert await types("*") == ["thing.noted.v1", "thing.closed.v1", "other.noted.v1"]
        assert await streams("a*") == {f"-{s}/thing.{k}.v1" for s in ("a", "ab") for k in ("noted", "closed")}
        assert await streams("a", "b") == {f"-{s}/thing.{k}.v1" for s in ("a", "b") for k in ("noted", "closed")}

    async def test_a_read_begins_at_a_recorded_instant(self, history: History) -> None:
        """The first event read is the first one recorded at the instant or after it."""
        category = fresh_category()
        requests = [AppendRequest(f"{category}-{name}", [made()]) for name in "ababa"]
        times = [(await done(history, request)).recorded_time for request in requests]
        query = ReadQuery(recorded_from=times[2])
        assert [e.recorded_time async for e in history.read_category(category, query)] == times[2:]
        assert [e.recorded_time async for e in history.read(f"{category}-a", query)] == [times[2], times[4]]
        after = ReadQuery(recorded_from=times[4] + timedelta(microseconds=1))
        assert [e async for e in history.read(f"{category}-a", after)] == []
        before = ReadQuery(recorded_from=NOON - timedelta(days=99_999))
        assert [e.sequence async for e in history.read(f"{category}-a", before)] == [1, 2, 3]

    async def test_many_streams_as_known_at_an_instant_are_so_for_ever(self, history: History) -> None:
        """Streams that have no event yet are closed at the instant, too."""
        category = fresh_category()
        await done(history, AppendRequest(f"{category}-1", [made()]))
        query = ReadQuery(known_at=utc_now())
        before = [event async for event in history.read_category(category, query)]
        for number in range(8):
            await done(history, AppendRequest(f"{category}-{number}", [made()]))
        assert [event async for event in history.read_category(category, query)] == before
        assert len(before) == 1

    async def test_what_is_known_at_an_instant_is_known_so_for_ever(self, history: History) -> None:
        """A later append is recorded after an instant that has been read; an instant that has not come is refused."""
        stream = fresh()
        await done(history, AppendRequest(stream, [made()]))
        now = utc_now()
        query = ReadQuery(known_at=now)
        before = [event async for event in history.read(stream, query)]
        later = await done(history, AppendRequest(stream, [made()]))
        assert later.recorded_time > now
        assert [event async for event in history.read(stream, query)] == before
        with pytest.raises(Invalid):
            [event async for event in history.read(stream, ReadQuery(known_at=now + timedelta(hours=1)))]

    async def test_a_long_stream_is_read_whole(self, history: History) -> None:
        """Forward and backward, past whatever page an implementation reads at a time."""
        stream = fresh()
        for _ in range(3):
            await done(history, AppendRequest(stream, [made(b"1") for _ in range(400)]))
        forward = [event.sequence async for event in history.read(stream)]
        assert forward == list(range(1, 1201))
        backward = [event.sequence async for event in history.read(stream, ReadQuery(backward=True, limit=1100))]
        assert backward == list(range(1200, 100, -1))
