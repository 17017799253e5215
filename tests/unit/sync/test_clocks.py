# SPDX-License-Identifier: Apache-2.0
"""Stamps and the hybrid logical clock: what could have known of another is later, whatever the wall clocks say."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerv.clock import HybridClock
from nerv.errors import Invalid
from nerv.testing.clock import ManualClock
from nerv.types import Stamp

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)
FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None) for year in (1970, 9999))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["write", "send", "step"]), st.integers(-2, 3)), max_size=60)
)
def test_whoever_could_know_of_a_write_has_a_greater_stamp(events: list[tuple[int, str, int]]) -> None:
    """Three nodes whose clocks run apart, are set back, and tell each other: causes sort before effects, and none is twice."""
    clocks = [ManualClock(NOON + timedelta(minutes=10 * n)) for n in range(3)]
    nodes = [HybridClock(f"node-{n}", clock) for n, clock in enumerate(clocks)]
    known: list[Stamp] = [Stamp(0)] * 3  # the greatest stamp that each node could know of
    seen: set[Stamp] = set()
    for node, event, much in events:
        if event == "write":
            stamp = nodes[node].now()
            assert stamp > known[node]
            assert stamp not in seen
            seen.add(stamp)
            known[node] = stamp
        elif event == "send":
            other = (node + 1) % 3
            nodes[other].receive(known[node])
            known[other] = max(known[other], known[node])
        else:
            clocks[node].set_wall(clocks[node].now() + timedelta(seconds=much))


def test_stamps_follow_the_wall_clock() -> None:
    """As long as it goes on, a stamp is its microsecond; while it stands still or goes back, the counter counts."""
    clock = ManualClock(NOON)
    node = HybridClock("n", clock)
    assert node.now() == Stamp.of(NOON, "n")
    assert node.now() == Stamp(Stamp.of(NOON).wall_us, 1, "n")
    clock.set_wall(NOON - timedelta(hours=1))
    assert node.now() == Stamp(Stamp.of(NOON).wall_us, 2, "n")
    clock.set_wall(NOON + timedelta(seconds=1))
    assert node.now() == Stamp.of(NOON + timedelta(seconds=1), "n")


def test_a_stamp_from_far_ahead_is_refused() -> None:
    """It would draw every later stamp after it; up to the bound it is taken."""
    node = HybridClock("n", ManualClock(NOON), drift_seconds=60)
    node.receive(Stamp.of(NOON + timedelta(seconds=60)))
    with pytest.raises(Invalid, match="61 s ahead"):
        node.receive(Stamp.of(NOON + timedelta(seconds=61)))
    assert node.now().instant == NOON + timedelta(seconds=60)


@settings(deadline=None)
@given(st.datetimes(FIRST, LAST), st.integers(0, 9), st.text(max_size=5))
def test_stamps_round_trip(instant: datetime, counter: int, node: str) -> None:
    """As instants and as text."""
    stamp = Stamp.of(instant.replace(tzinfo=UTC), node)._replace(counter=counter)
    assert stamp.instant == instant.replace(tzinfo=UTC)
    assert Stamp.parse(str(stamp)) == stamp


@pytest.mark.parametrize("text", ["", "1", "1.2", "1@n", "x.1@n", "1.x@n", "-1.0@n"])
def test_what_is_no_stamp_is_refused(text: str) -> None:
    """With what one looks like."""
    with pytest.raises(Invalid, match="such as"):
        Stamp.parse(text)
