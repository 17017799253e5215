# SPDX-License-Identifier: Apache-2.0
"""Lists of traces are bounded, however large the traces are."""

from nerv.telemetry.spans.store import TraceTimes
from nerv_broker.traces import MOST_SPANS, _readable, summary


def times(name: str, spans: int, *, failed: bool = False) -> TraceTimes:
    """A trace of so many spans."""
    return TraceTimes(name, 1_000_000, 1_002_500, failed, spans)


def test_spans_are_read_as_long_as_there_is_room() -> None:
    """A small trace is read though a large one before it is not."""
    assert _readable([times("a", MOST_SPANS - 10), times("b", 11), times("c", 10)]) == ["a", "c"]


def test_a_trace_that_is_not_read_still_has_its_times() -> None:
    """How long it took, how many spans it has, and that one failed."""
    told = summary(times("a", 7, failed=True), [])
    assert (told["milliseconds"], told["spans"], told["errors"], told["name"]) == (2.5, 7, 1, None)
