# SPDX-License-Identifier: Apache-2.0
"""The suite *telemetry* finds what a mode takes, however the machine's moods change the cost of a request."""

import random
from collections.abc import Iterator

import pytest

from bench.telemetry.modes import Mode
from bench.telemetry.windows import SERIES, Noted, Series, rounds_of, share

BARE = 100.0  # us for one of what is counted
TAKES = {Mode.NONE: 0.0, Mode.OFF: 0.5, Mode.HUNDREDTH: 2.0, Mode.ALL: 40.0}  # us more
WRITTEN = {Mode.HUNDREDTH: 0.3, Mode.ALL: 30.0}  # us of what one takes later


def measured(series: Series, turns: int, mood_changes_by: float) -> Iterator[Noted]:
    """A server with these costs, on a machine whose speed wanders."""
    chance = random.Random(1)  # noqa: S311 - moods are no secret
    mood, waiting = 1.0, 0.0
    for window in series.windows() * turns:
        mood = min(1.5, max(0.7, mood * chance.gauss(1, mood_changes_by)))
        waiting += WRITTEN.get(window.mode, 0.0) * (series.settling + series.size)
        count = series.size + 7 * window.writes
        cpu = (BARE + TAKES[window.mode]) * count
        if window.writes:
            cpu, waiting = cpu + waiting, 0.0
        yield Noted(cpu * mood, count)


@pytest.mark.parametrize("service", SERIES)
@pytest.mark.parametrize(
    ("name", "mode"), [("few", Mode.OFF), ("few", Mode.HUNDREDTH), ("every", Mode.ALL)], ids=lambda one: str(one)
)
def test_the_share_of_a_mode_is_found(service: str, name: str, mode: Mode) -> None:
    """To the digit on a machine without moods; within three of its errors where these change what one costs by a twentieth."""
    series = SERIES[service][name]
    truth = TAKES[mode] + WRITTEN.get(mode, 0.0)
    steady = share(rounds_of(series, list(measured(series, 3, 0.0))), mode)
    assert steady == pytest.approx((truth, 0.0))
    moody = share(rounds_of(series, list(measured(series, 60, 0.05))), mode)
    assert 0 < moody.error < 2
    assert abs(moody.more - truth) < 3 * moody.error


@pytest.mark.parametrize("service", SERIES)
@pytest.mark.parametrize("name", ["few", "every"])
def test_a_machine_that_gets_slower_is_no_mode(service: str, name: str) -> None:
    """Each mode stands before and after the others alike."""
    series = SERIES[service][name]
    noted = [Noted((BARE + at) * series.size, series.size) for at, _ in enumerate(series.windows() * 4)]
    rounds = rounds_of(series, noted)
    assert [one for more in rounds.more.values() for one in more] == pytest.approx(
        [0.0] * len(rounds.bare) * len(rounds.more)
    )
    assert rounds.writing == pytest.approx([0.0] * 4)


def test_a_turn_that_was_cut_off_does_not_count() -> None:
    """Its windows would be taken for others."""
    series = SERIES["broker"]["every"]
    noted = list(measured(series, 3, 0.05))
    assert rounds_of(series, noted[:-1]) == rounds_of(series, noted[: 2 * len(series.windows())])
