# SPDX-License-Identifier: Apache-2.0
"""When schedules tick: cron in a time zone through changes of clocks, intervals, and what is due after a pause."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerv.app.ticks import Ticks
from nerv.errors import Misconfigured

BERLIN = "Europe/Berlin"
CRONS = ("0 3 * * *", "30 2 * * *", "*/15 * * * *", "0 * * * *", "0 9 * * MON-FRI", "0 0 1 * *", "5 0,12 * * *")
ZONES = ("UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")


def at(text: str) -> datetime:
    """An instant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(ticks: Ticks, instant: str, count: int) -> list[str]:
    """The next ticks."""
    return [tick.isoformat()[:16] for tick in itertools.islice(ticks.after(at(instant)), count)]


def test_a_daily_tick_keeps_its_local_time_through_changes_of_clocks() -> None:
    """03:00 in Berlin is 02:00 UTC in winter and 01:00 UTC in summer; each day once."""
    ticks = Ticks.of("0 3 * * *", None, BERLIN)
    assert following(ticks, "2026-03-27T12:00", 3) == ["2026-03-28T02:00", "2026-03-29T01:00", "2026-03-30T01:00"]
    assert following(ticks, "2026-10-23T12:00", 3) == ["2026-10-24T01:00", "2026-10-25T02:00", "2026-10-26T02:00"]


def test_an_hour_that_is_left_out_or_comes_twice_ticks_once() -> None:
    """02:30 does not exist on one day of spring, and comes twice on one of autumn."""
    ticks = Ticks.of("30 2 * * *", None, BERLIN)
    assert following(ticks, "2026-03-28T12:00", 2) == ["2026-03-29T01:00", "2026-03-30T00:30"]
    assert following(ticks, "2026-10-24T12:00", 2) == ["2026-10-25T00:30", "2026-10-26T01:30"]


def test_what_ticks_within_the_hour_goes_on_through_changes_of_clocks() -> None:
    """Every hour is every hour, also when one comes twice."""
    ticks = Ticks.of("0 * * * *", None, BERLIN)
    assert following(ticks, "2026-10-24T23:30", 3) == ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"]


def test_intervals_are_counted_from_1970() -> None:
    """So that all replicas, and every release, mean the same instants."""
    ticks = Ticks.of(None, timedelta(hours=6), "UTC")
    assert following(ticks, "2026-01-01T06:00", 2) == ["2026-01-01T12:00", "2026-01-01T18:00"]
    assert next(ticks.before(at("2026-01-01T06:00"))) == at("2026-01-01T06:00")
    assert str(ticks) == "every 21600 s"


@settings(max_examples=50, deadline=None)  # a busy machine may stop it in the middle
@given(
    st.sampled_from(CRONS),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001 - the zone is given below
)
def test_looking_back_finds_what_looking_forward_found(cron: str, zone: str, naive: datetime) -> None:
    """The ticks of two days before an instant are the same from either end, whatever the clocks did."""
    ticks, now = Ticks.of(cron, None, zone), naive.replace(tzinfo=UTC)
    since = now - timedelta(days=2)
    forward = list(itertools.takewhile(lambda tick: tick <= now, ticks.after(since)))
    back = list(itertools.takewhile(lambda tick: tick > since, ticks.before(now)))
    assert back[::-1] == forward
    assert len(set(forward)) == len(forward)


def test_after_a_pause_the_latest_missed_ticks_are_due() -> None:
    """As many as are to be caught up with, and all of the last minute; without a pause each once."""
    ticks, grace = Ticks.of(None, 3600, "UTC"), timedelta(seconds=60)
    now = at("2026-01-02T00:00:10")

    def due(since: str, missed: int) -> list[int]:
        return [tick.hour for tick in ticks.due(at(since), now, grace=grace, missed=missed)]

    assert due("2026-01-01T12:00", 2) == [22, 23, 0]
    assert due("2026-01-01T12:00", 0) == [0]
    assert due("2026-01-01T23:00", 5) == [0]
    assert due("2026-01-02T00:00", 5) == []


@pytest.mark.parametrize(
    ("cron", "every", "zone", "says"),
    [
        ("0 3 * *", None, "UTC", "no cron expression"),
        ("61 * * * *", None, "UTC", "Bad minute"),
        ("0 0 31 2 *", None, "UTC", "no cron expression|never comes"),
        ("0 3 * * *", None, "Europe/Atlantis", "no time zone"),
        ("0 3 * * *", 5, "UTC", "either cron or every"),
        (None, None, "UTC", "either cron or every"),
        (None, 0.5, "UTC", "1 or more"),
        (None, 1.5, "UTC", "whole number"),
    ],
)
def test_what_is_no_schedule_is_refused(cron: Any, every: Any, zone: str, says: str) -> None:
    """Where it is declared, with what is wrong."""
    with pytest.raises(Misconfigured, match=says):
        Ticks.of(cron, every, zone)
