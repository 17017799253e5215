# SPDX-License-Identifier: Apache-2.0
"""What replicas say, in the words of people."""

import pytest

from nerv.cli.replicas import duration, ranges, status_of, works


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59, "59s"), (60, "1m 0s"), (725, "12m 5s"), (3605, "1h 0m"), (273_600, "3d 4h")],
)
def test_a_duration_has_two_units(seconds: float, text: str) -> None:
    """The greatest, and the one below."""
    assert duration(seconds) == text


@pytest.mark.parametrize(("numbers", "text"), [([], ""), ([3], "3"), ([2, 0, 1, 7], "0-2, 7"), ([0, 2], "0, 2")])
def test_numbers_are_told_as_ranges(numbers: list[int], text: str) -> None:
    """In order."""
    assert ranges(numbers) == text


def test_the_status_says_what_is_wrong() -> None:
    """Or what the replica is doing, or that it is up."""
    assert status_of({"health": {"status": "ok", "phase": "running", "faults": {}}}) == "up"
    stopping = {"status": "not ready", "phase": "stopping", "faults": {"service": "stopping"}}
    assert status_of({"health": stopping}) == "stopping"
    faults = {"status": "not ready", "phase": "running", "faults": {"owners": "Kafka is away"}}
    assert status_of({"health": faults}) == "owners: Kafka is away"
    assert not works("owners: Kafka is away")
    degraded = status_of({"health": {**faults, "status": "degraded"}})
    assert degraded == "degraded: owners: Kafka is away"
    assert works(degraded)
