# SPDX-License-Identifier: Apache-2.0
"""What cluster-test writes down of a service while something is done to the cluster."""

import io

from rich.console import Console

from tests.cluster.phases import Away, Book
from tests.cluster.telling import tell


def test_the_time_away_is_the_sum_of_its_stretches() -> None:
    """To be told the same twice changes nothing."""
    away = Away()
    for there, now in ((False, 1.0), (False, 2.0), (True, 4.0), (True, 5.0), (False, 6.0), (True, 7.0)):
        away.tell(there, now)
    assert (away.total, away.longest, away.since) == (4.0, 3.0, None)


def test_what_is_away_over_two_phases_is_counted_in_both() -> None:
    """Each has its own part of it."""
    book = Book(Console(file=io.StringIO()))
    with book.phase("kill a pod") as first:
        book.ready("temporal", 0)
    with book.phase("scale") as second:
        book.ready("temporal", 1)
    parts = (first.seen["temporal"].unready, second.seen["temporal"].unready)
    assert all(part.total > 0 and part.since is None for part in parts)
    assert first.seen["broker"].unready.total == 0


def test_an_answer_that_is_waited_for_over_two_phases_is_a_pause_in_both() -> None:
    """Repeats of one request are one wait."""
    book = Book(Console(file=io.StringIO()))
    with book.phase("upgrade") as first:
        book.asks("broker")
        book.failed("broker", "connection refused")
        book.asks("broker")
    with book.phase("scale") as second:
        book.answered("broker")
    assert first.seen["broker"].pause > 0
    assert second.seen["broker"].pause > 0
    assert (first.seen["broker"].done, second.seen["broker"].done) == (0, 1)
    assert first.seen["broker"].failed == {"connection refused": 1}


def test_the_tables_name_the_failures_and_who_was_away() -> None:
    """And leave out what nothing was done to."""
    said = io.StringIO()
    screen = Console(file=said, width=150)
    book = Book(screen)
    with book.step("kill a pod of temporal") as phase:
        phase.notes.append("ready again after 3.0 s")
        book.asks("temporal")
        book.failed("temporal", "connection broken")
        book.answered("temporal")
        book.asks("sync")
        book.answered("sync")
    said.truncate(0)
    tell(book.phases, screen)
    told = said.getvalue()
    assert "ready again after 3.0 s" in told
    assert "1 connection broken" in told
    assert "sync" not in told
