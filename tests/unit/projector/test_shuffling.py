# SPDX-License-Identifier: Apache-2.0
"""Folds that lean on the order between streams are found."""

from typing import Any

import pytest

import nerv
from nerv.testing.shuffling import assert_order_does_not_matter, interleavings
from tests.unit.projector.records_in_memory import event

app = nerv.App("test")


@app.event("trip.v1")
class Trip(nerv.Event):
    """To somewhere."""

    dest: str
    plane: str


@app.projection("counts", key="dest")
def counts(state: dict[str, Any] | None, event: Trip) -> dict[str, Any]:
    """Takes them in any order."""
    return {"trips": (state or {"trips": 0})["trips"] + 1}


@app.projection("lasts", key="dest")
def lasts(state: dict[str, Any] | None, event: Trip) -> dict[str, Any]:
    """Keeps the last one, of whatever stream."""
    return {"last": event.plane}


EVENTS = [event("trip.v1", f"plane-N{n % 3}", {"dest": "LAX", "plane": f"N{n % 3}"}, n) for n in range(1, 13)]


def test_each_stream_keeps_its_order() -> None:
    """Whatever the others do."""
    for order in interleavings(EVENTS):
        assert sorted(e.id for e in order) == sorted(e.id for e in EVENTS)
        for stream in ("plane-N0", "plane-N1", "plane-N2"):
            numbers = [e.sequence for e in order if e.stream == stream]
            assert numbers == sorted(numbers, key=lambda n: n or 0)


def test_a_fold_that_takes_any_order_passes() -> None:
    """A count is a count."""
    assert_order_does_not_matter(app, "counts", EVENTS)


def test_a_fold_that_leans_on_the_order_between_streams_is_shown() -> None:
    """With the key, and what it comes to."""
    with pytest.raises(AssertionError, match="leans on the order between streams: 'LAX'"):
        assert_order_does_not_matter(app, "lasts", EVENTS)
