# SPDX-License-Identifier: Apache-2.0
"""When a state is kept: by events, by bytes, by measured time; and never so that states outweigh history."""

import time

import pytest

import nerv
from nerv.app import SnapshotPolicy
from nerv.errors import Invalid, Misconfigured
from nerv.history.snapshots import Replay


def gone_through(policy: SnapshotPolicy, events: int, size: int) -> Replay:
    """A replay of so many events of this size."""
    replay = Replay(policy)
    for _ in range(events):
        replay.add(size)
    return replay


@pytest.mark.parametrize(
    ("policy", "events", "size", "due"),
    [
        (SnapshotPolicy(events=10), 9, 1000, False),
        (SnapshotPolicy(events=10), 10, 0, True),
        (SnapshotPolicy(bytes=1000), 3, 333, False),
        (SnapshotPolicy(bytes=1000), 4, 333, True),
        (SnapshotPolicy(events=10, bytes=1000), 1, 1000, True),
        (SnapshotPolicy(), 10_000, 1000, False),
        (SnapshotPolicy(events=1), 0, 0, False),
    ],
)
def test_the_first_bound_that_is_met_counts(policy: SnapshotPolicy, events: int, size: int, due: bool) -> None:
    """Events and bytes; a policy without a bound keeps nothing, and nothing gone through is nothing to keep."""
    assert gone_through(policy, events, size).due() is due


def test_measured_time_counts_without_the_pauses() -> None:
    """What a replay waits for others is no cost of the fold."""
    replay = gone_through(SnapshotPolicy(seconds=0.05), 1, 1)
    replay.pause()
    _busy(0.06)
    replay.resume()
    assert not replay.due()
    _busy(0.06)
    assert replay.due()


def test_states_never_outweigh_what_they_are_of() -> None:
    """A large state waits until as much was gone through; then the counts begin anew."""
    replay = gone_through(SnapshotPolicy(events=2), 2, 10)
    assert not replay.keeps(b"x" * 50)
    assert not replay.due()
    for _ in range(3):
        replay.add(10)
    assert replay.due()
    assert replay.keeps(b"x" * 50)
    assert not replay.due()


def test_an_app_declares_it_for_all_or_for_a_category() -> None:
    """The category's own goes first; twice, or without sense, is refused."""
    app = nerv.App("kept")
    assert app.snapshot_policy("thing") is None
    app.snapshots(events=500)
    app.snapshots(category="thing", seconds=0.01)
    assert app.snapshot_policy("thing") == SnapshotPolicy(seconds=0.01)
    assert app.snapshot_policy("other") == SnapshotPolicy(events=500)
    with pytest.raises(Misconfigured, match="twice"):
        app.snapshots(events=1)
    with pytest.raises(Invalid, match="more than 0"):
        app.snapshots(category="new", bytes=0)


def _busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
