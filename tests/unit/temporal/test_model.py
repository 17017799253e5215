# SPDX-License-Identifier: Apache-2.0
"""The decisions of a tick."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from nerv.cloudevents.proto_format import from_us
from nerv.errors import IdConflict, VersionConflict
from nerv.history import Duplicate
from nerv.history.memory import MemoryHistory
from nerv.protocols import AppendRequest, Expected
from nerv.protocols.history import Expect
from nerv.types import Event
from nerv_temporal.model import Accepted, plan_tick, recorded_instant

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
RECORDED = 1_400_000_000_000_000


def event(event_id: str, data: bytes = b"{}") -> Event[bytes]:
    """An event of this id."""
    return Event(event_id, "test", "thing.noted.v1", NOON, data)


def test_requests_of_a_tick_see_each_other() -> None:
    """Versions go on over the requests of a tick, and a stale expectation is refused among them."""
    plan = plan_tick(
        [
            AppendRequest("a", [event("1"), event("2")], Expected(Expect.NONE)),
            AppendRequest("a", [event("3")], Expected(Expect.EXACT, 2)),
            AppendRequest("a", [event("4")], Expected(Expect.EXACT, 2)),
            AppendRequest("b", [event("1")]),
        ],
        MemoryHistory(),
        RECORDED,
    )
    assert [(s.event.subject, s.event.sequence) for s in plan.events] == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert plan.verdicts[:2] == [Accepted(0, 2), Accepted(2, 3)]
    assert isinstance(plan.verdicts[2], VersionConflict)
    assert plan.verdicts[3] == Accepted(3, 4)


def test_a_repeat_within_a_tick_shares_the_append() -> None:
    """Two requests with the same ids and content make one append; with other content the second is refused."""
    plan = plan_tick(
        [AppendRequest("a", [event("1")]), AppendRequest("a", [event("1")]), AppendRequest("a", [event("1", b"[]")])],
        MemoryHistory(),
        RECORDED,
    )
    assert len(plan.events) == 1
    assert plan.verdicts[:2] == [Accepted(0, 1), Duplicate(1, 1)]
    assert isinstance(plan.verdicts[2], IdConflict)


def test_every_event_of_a_tick_has_its_recorded_instant() -> None:
    """Recorded time is the tick's, and the stream is the subject whatever the writer said."""
    plan = plan_tick([AppendRequest("a", [event("1"), event("2")])], MemoryHistory(), RECORDED)
    assert {s.event.recorded_time for s in plan.events} == {from_us(RECORDED)}
    assert {s.event.subject for s in plan.events} == {"a"}


@given(clock=st.integers(0, 2**52), last=st.integers(0, 2**52), closing=st.integers(0, 2**52))
def test_recorded_time_is_after_all_that_is_recorded_or_closed(clock: int, last: int, closing: int) -> None:
    """Whatever the clock says, it is after the last instant and after the closing, and never before the clock."""
    instant = recorded_instant(clock, last, closing)
    assert instant > last
    assert instant > closing
    assert instant >= clock
