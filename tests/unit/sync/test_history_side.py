# SPDX-License-Identifier: Apache-2.0
"""Streams of a category as a side: the fold of its rows, and the appends that change them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from nerv.errors import TooLarge
from nerv.history.memory import MemoryHistory
from nerv.protocols import AppendRequest, Latest
from nerv.protocols.side import Action, Entity, Step, Written
from nerv.sync.canonical import canonical
from nerv.sync.current import Current, CurrentState
from nerv.sync.schema import WholeRow
from nerv.sync.sides import ChangeLog, HistorySide, MappingSide
from nerv.sync.sides.history import event_id
from nerv.sync.synchronizer import DiffSynchronizer
from nerv.types import Event, Stamp

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


def step(action: Action, key: str, version: int, *, time: datetime = NOON, **columns: Any) -> Step:
    """A step over a plane."""
    before = None if action is Action.CREATE else canonical({"tailnum": key})
    after = None if action is Action.DELETE else canonical({"tailnum": key, **columns})
    return Step("right", action, key, before, after, version, Stamp.of(time))


async def planes(**seats: int) -> tuple[MemoryHistory, HistorySide]:
    """A history with these planes, and the side over it."""
    history = MemoryHistory()
    side = HistorySide(history, "plane", writer="nerv:sync:planes")
    await side.write([step(Action.CREATE, key, 0, seats=count) for key, count in seats.items()])
    return history, side


def test_the_fold_follows_creation_update_and_removal() -> None:
    """Other types count as versions only; the latest time is kept; a row in other words is the same row."""
    state = CurrentState("plane")

    def add(version: int, kind: str, data: bytes, minutes: int) -> None:
        time = NOON + timedelta(minutes=minutes)
        state.add(Event(f"e{version}", "x", kind, time, data, subject="plane-N1-B", sequence=version))

    add(1, "plane.created.v1", b'{ "seats": 1, "a": 2 }', 5)
    add(2, "plane.painted.v1", b"{}", 0)
    assert state.entities == {"N1-B": Current(2, NOON + timedelta(minutes=5), b'{"a":2,"seats":1}')}
    add(3, "plane.removed.v1", b"{}", 9)
    assert state.entities["N1-B"].content is None
    add(4, "plane.created.v1", b"[1]", 9)
    assert state.entities["N1-B"] == Current(4, NOON + timedelta(minutes=9), b"null")


def test_a_step_appends_at_the_version_that_was_seen() -> None:
    """Create at 0, or after a removal at its version; update and delete at theirs; each with its type, time and data."""
    side = HistorySide(MemoryHistory(), "plane", writer="nerv:sync:planes")
    steps = [
        step(Action.CREATE, "N1", 0, seats=1),
        step(Action.UPDATE, "N2", 4, seats=1),
        step(Action.DELETE, "N3", 7),
        step(Action.CREATE, "N4", 2, seats=1),
    ]
    requests = [side.request(one) for one in steps]
    assert [(r.stream, str(r.expected), r.events[0].type) for r in requests] == [
        ("plane-N1", "0", "plane.created.v1"),
        ("plane-N2", "4", "plane.updated.v1"),
        ("plane-N3", "7", "plane.removed.v1"),
        ("plane-N4", "2", "plane.created.v1"),
    ]
    assert orjson.loads(requests[1].events[0].data) == {"tailnum": "N2", "seats": 1}
    assert orjson.loads(requests[2].events[0].data) == {"key": "N3", "before": {"tailnum": "N3"}}
    assert {r.events[0].time for r in requests} == {NOON}
    assert requests == [side.request(one) for one in steps]


def test_ids_tell_every_part_apart() -> None:
    """Another writer, stream, version, type or content is another id, also where the parts join to the same text."""
    parts = ("planes", "plane-N1", 1, "plane.created.v1", b"{}")
    others = [
        ("plane", "splane-N1", 1, "plane.created.v1", b"{}"),
        ("planes", "plane-N11", 1, "plane.created.v1", b"{}"),
        ("planes", "plane-N1", 11, "plane.created.v1", b"{}"),
        ("planes", "plane-N1", 1, "plane.updated.v1", b"{}"),
        ("planes", "plane-N1", 1, "plane.created.v1", b'{"a":1}'),
    ]
    assert len({event_id(*p) for p in (parts, *others)}) == 6
    assert event_id(*parts) == event_id(*parts)


async def test_a_change_made_elsewhere_is_done() -> None:
    """The same step of another run, with another time: its id is there, so the change is, and once."""
    history, side = await planes(N1=1)
    for minutes in range(3):
        change = step(Action.UPDATE, "N1", 1, time=NOON + timedelta(minutes=minutes), seats=2)
        assert isinstance((await side.write([change]))[0], Written)
    assert [e.type async for e in history.read("plane-N1")] == ["plane.created.v1", "plane.updated.v1"]


async def test_a_change_is_never_older_than_what_history_has() -> None:
    """An old file that is put back is not folded before the newer one in a read as of an instant."""
    history, side = await planes()
    await side.write([step(Action.CREATE, "N1", 0, time=NOON + timedelta(days=1), seats=1)])
    left = MappingSide("left")
    left.put("N1", {"tailnum": "N1", "seats": 2}, Stamp.of(NOON))
    await DiffSynchronizer("planes", left, side, WholeRow("plane", ("tailnum",))).sync()
    assert [e.time async for e in history.read("plane-N1")] == [NOON + timedelta(days=1)] * 2


async def test_what_is_no_row_is_replaced() -> None:
    """Another writer has appended something else under the type of a row: it differs from every row."""
    history, side = await planes(N1=1)
    for data in (b"[1]", b"null", b"not JSON", b"7"):
        version = len([e async for e in history.read("plane-N1")])
        await history.append([AppendRequest("plane-N1", [Event(f"e{version}", "x", "plane.updated.v1", NOON, data)])])
        left = MappingSide.of("left", ["tailnum"], [{"tailnum": "N1", "seats": 1}])
        assert (await DiffSynchronizer("planes", left, side, WholeRow("plane", ("tailnum",))).sync()).done == 1
        assert (await side.fetch(["N1"]))[0].row == {"tailnum": "N1", "seats": 1}


async def test_many_streams_are_read_by_one_question() -> None:
    """Whatever other writers have appended to them: the row, the version and the latest time are those of the fold."""

    class Counted(MemoryHistory):
        asked = 0

        async def latest(self, streams: Sequence[str], types: frozenset[str] = frozenset()) -> list[Latest]:
            self.asked += 1
            return await super().latest(streams, types)

    history = Counted()
    side = HistorySide(history, "plane", writer="x", feed=ChangeLog())
    await side.write([step(Action.CREATE, f"N{n}", 0, seats=n) for n in range(400)])
    await side.write([step(Action.DELETE, "N1", 1), step(Action.UPDATE, "N2", 1, time=NOON - timedelta(days=1))])
    painted = Event("p", "x", "plane.painted.v1", NOON + timedelta(days=1), b"{}")
    await history.append([AppendRequest("plane-N3", [painted]), AppendRequest("plane-P", [painted])])
    found = {one.key: one for one in await side.fetch([*(f"N{n}" for n in range(401)), "P"])}
    assert history.asked == 1
    assert found["N1"] == Entity("N1", None, 2, Stamp.of(NOON))
    assert found["N2"] == Entity("N2", {"tailnum": "N2"}, 2, Stamp.of(NOON))
    assert found["N3"] == Entity("N3", {"tailnum": "N3", "seats": 3}, 2, Stamp.of(painted.time))
    assert found["N400"] == Entity("N400", None, 0)
    assert found["P"] == Entity("P", None, 1, Stamp.of(painted.time))


async def test_a_category_is_bounded() -> None:
    """More streams than allowed are refused, with the setting that allows more."""
    history, _ = await planes(N1=1, N2=2, N3=3)
    side = HistorySide(history, "plane", writer="x", limit=2)
    with pytest.raises(TooLarge, match="NERV_SYNC__ROWS"):
        _ = [batch async for batch in side.load()]
