# SPDX-License-Identifier: Apache-2.0
"""When the events of a replay are due. Time is given, nothing waits."""

from datetime import UTC, datetime, timedelta

import pytest

from nerv_broker.subscriptions.pacing import LONGEST_GAP, Pace, Pacer

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


def replay(pace: Pace, seconds: list[float], took: float = 0.0) -> list[float]:
    """The instants at which events that happened at these seconds after noon are sent; sending each takes so long."""
    pacer, now, sent = Pacer(pace, 0.0), 0.0, []
    for second in seconds:
        now += pacer.wait(NOON + timedelta(seconds=second), now)
        sent.append(now)
        now += took
    return sent


def test_without_a_pace_nothing_waits() -> None:
    """As fast as can be."""
    assert replay(Pace(), [0, 3600, 0]) == [0, 0, 0]


@pytest.mark.parametrize("rate", [2.0, 100.0, 5000.0])
def test_a_rate_holds_over_time(rate: float) -> None:
    """1,000 events at a rate take 1,000 / rate seconds; those due within 20 ms go together."""
    sent = replay(Pace(rate=rate), [0] * 1000)
    assert sent[-1] == pytest.approx(999 / rate, abs=0.03)
    assert sent == sorted(sent)


def test_who_was_slow_does_not_get_it_all_at_once() -> None:
    """A reader who takes 1 s for each of 10 events at 2 a second waits for nothing, nor gets two at once."""
    sent = replay(Pace(rate=2.0), [0] * 10, took=1.0)
    assert sent == pytest.approx(list(range(10)), abs=0.1)


def test_speed_follows_the_time_at_which_events_happened() -> None:
    """60 times as fast: a minute is a second; what happened late but earlier does not wait, nor make others wait."""
    sent = replay(Pace(speed=60.0), [0, 60, 180, 120, 240])
    assert sent == pytest.approx([0, 1, 3, 3, 4])


def test_a_gap_of_years_is_not_waited_for() -> None:
    """An hour at most."""
    assert replay(Pace(speed=1.0), [0, 10**8]) == pytest.approx([0, LONGEST_GAP])
