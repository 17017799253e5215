# SPDX-License-Identifier: Apache-2.0
"""The checker of published events: a good run has no complaints, and each way of breaking it is found by its rule."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from nerv.errors import IdConflict, Overloaded, TooLarge, Unavailable, UnknownOutcome
from tests.faults.broker.publishing.checker import RULES, check
from tests.faults.broker.publishing.load import ended
from tests.faults.broker.publishing.operations import Course, End, Entry, Forgery, Polled, Seen, Sent


@dataclass
class Run:
    """What was seen, and what the log has."""

    seen: Seen
    log: list[Entry]


def good() -> Run:
    """Three events of a key: one acknowledged twice, one of unknown end that is there, one that is not; one of another key."""
    seen = Seen()
    for sent in (
        Sent("a", "k", 0, End.DONE, (0, 0)),
        Sent("a", "k", 0, End.DONE, (0, 0), duplicate=True),
        Sent("b", "k", 1, End.UNKNOWN),
        Sent("c", "k", 2, End.UNKNOWN),
        Sent("d", "other", 0, End.REFUSED),
        Sent("d", "other", 0, End.DONE, (1, 5)),
    ):
        seen.note(sent)
    seen.forgeries.append(Forgery("a", done=False))
    log = [Entry((0, 0), "a", "k", 0), Entry((0, 2), "b", "k", 1), Entry((1, 5), "d", "other", 0)]
    polls = [Polled((1, 5), "d"), Polled((0, 0), "a"), Polled((0, 2), "b")]
    seen.courses.append(Course("one", polls))
    return Run(seen, log)


def test_a_good_run_has_no_complaints() -> None:
    """Every rule is asked."""
    run = good()
    assert check(run.seen, run.log) == {rule.__name__: [] for rule in RULES}


def lose(run: Run) -> None:
    """An acknowledged event is not there."""
    del run.log[0], run.seen.courses[0].polls[1]


def write_twice(run: Run) -> None:
    """An event is there a second time."""
    run.log.append(Entry((1, 9), "b", "k", 1))
    run.seen.courses[0].polls.append(Polled((1, 9), "b"))


def tell_two_places(run: Run) -> None:
    """A repeat is answered with another place."""
    run.seen.note(Sent("a", "k", 0, End.DONE, (0, 1), duplicate=True))


def write_what_was_refused(run: Run) -> None:
    """A refused event is there."""
    run.seen.note(Sent("e", "k", 3, End.REFUSED))
    run.log.append(Entry((0, 7), "e", "k", 3))
    run.seen.courses[0].polls.append(Polled((0, 7), "e"))


def write_what_nobody_sent(run: Run) -> None:
    """An event of nobody is there."""
    run.log.append(Entry((0, 7), "x", "k", 9))
    run.seen.courses[0].polls.append(Polled((0, 7), "x"))


def read_what_is_not_committed(run: Run) -> None:
    """A subscriber got what the log has not."""
    run.seen.courses[0].polls.append(Polled((0, 4), "c"))


def take_a_forgery(run: Run) -> None:
    """Other content under a known id."""
    run.seen.forgeries.append(Forgery("a", done=True))


def read_twice(run: Run) -> None:
    """A subscriber got an event again."""
    run.seen.courses[0].polls.append(Polled((0, 0), "a"))


def turn_a_key_round(run: Run) -> None:
    """The second event of a key stands before the first."""
    run.log[:2] = [Entry((0, 0), "a", "k", 1), Entry((0, 2), "b", "k", 0)]


def miss(run: Run) -> None:
    """A subscriber did not get an event."""
    run.seen.courses[0].polls.pop()


@pytest.mark.parametrize(
    ("breaks", "rules"),
    [
        (lose, {"lost_write"}),
        (write_twice, {"duplicate"}),
        (tell_two_places, {"lost_write", "duplicate"}),
        (write_what_was_refused, {"aborted_read"}),
        (write_what_nobody_sent, {"aborted_read"}),
        (read_what_is_not_committed, {"aborted_read"}),
        (take_a_forgery, {"forged"}),
        (read_twice, {"non_monotonic"}),
        (turn_a_key_round, {"non_monotonic"}),
        (miss, {"unseen"}),
    ],
)
def test_each_way_of_breaking_it_is_found(breaks: Callable[[Run], None], rules: set[str]) -> None:
    """By its rule, and by no other."""
    run = good()
    breaks(run)
    assert {name for name, complaints in check(run.seen, run.log).items() if complaints} == rules


def test_what_is_not_surely_done_or_not_done_is_unknown() -> None:
    """An error tells of each event, or of all."""
    told: list[dict[str, Any]] = [
        {"id": "1", "partition": 0, "offset": 7},
        {"id": "2", "error": "Unavailable", "detail": ""},
        {"id": "3", "error": "UnknownOutcome", "detail": ""},
        {"id": "4", "error": "IdConflict", "detail": ""},
    ]
    first, *rest = ended(UnknownOutcome("", errors=told), 4)
    assert not isinstance(first, End)
    assert (first.partition, first.offset) == (0, 7)
    assert rest == [End.REFUSED, End.UNKNOWN, End.REFUSED]
    for error in (IdConflict(""), TooLarge(""), Unavailable(""), Overloaded("")):
        assert ended(error, 2) == [End.REFUSED] * 2
    assert ended(UnknownOutcome(""), 1) == [End.UNKNOWN]
