# SPDX-License-Identifier: Apache-2.0
"""The checker of the fault suite finds what can be wrong with the books of the bank."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from nerv.types import Event, EventType, format_instant
from nerv.workflows import Dag, Output, Step
from tests.faults.scheduler.checker import RULES, Booking, Books, Transfer, check

START = datetime(2026, 1, 1, tzinfo=UTC)
WANTED = {"r": [Transfer("a", "b", 5)]}
DAG = Dag((Step("take", "take"), Step("give", "give", (Output("take"),))), Output("give"))


def event(kind: EventType, seconds: float, **data: Any) -> Event[bytes]:
    """An event of the run's stream."""
    return Event(kind.value, "run-r", kind, START + timedelta(seconds=seconds), orjson.dumps(data))


def done(node: str, began: float, ended: float) -> Event[bytes]:
    """A task is done."""
    began_at = format_instant(START + timedelta(seconds=began))
    return event(EventType.TASK_COMPLETED, ended, node=node, began=began_at)


def books(*, second_begins: float = 2.0, result: list[list[str]] | None = None, ends: bool = True) -> Books:
    """Books of one transfer."""
    events = [event(EventType.RUN_SUBMITTED, 0, dag=DAG.encode()), done("take", 1, 2), done("give", second_begins, 3)]
    if ends:
        events.append(event(EventType.RUN_COMPLETED, 4, result=result or [["m1", "m2"]]))
    bookings = [Booking("a", "r/0", -5, "m1", ()), Booking("b", "r/0", 5, "m2", ("m1",))]
    return Books(bookings, {"r": events})


def broken(found: Books) -> set[str]:
    """The rules that are broken."""
    return {rule for rule, violations in check(WANTED, found).items() if violations}


def test_right_books_break_no_rule() -> None:
    """Taken once, given once, for each other, in order."""
    assert broken(books()) == set()


@pytest.mark.parametrize("leg", [0, 1])
@pytest.mark.parametrize("times", [0, 2])
def test_a_leg_that_is_missing_or_twice_is_found(leg: int, times: int) -> None:
    """Money that was taken or given never, or twice."""
    found = books()
    found.bookings[leg : leg + 1] = [found.bookings[leg]] * times
    assert broken(found) == {"total", "booked once"}


def test_a_second_result_is_found() -> None:
    """Given for another withdrawal than the one that is booked; and the run's end saw another one than the account."""
    found = books()
    found.bookings[1] = replace(found.bookings[1], seen=("other",))
    assert broken(found) == {"one result"}
    assert broken(books(result=[["m1", "other"]])) == {"one result"}


def test_what_comes_too_early_or_never_is_found() -> None:
    """A child that began before its parent had ended; a run without an end."""
    assert broken(books(second_begins=1.5)) == {"order"}
    assert broken(books(ends=False)) == {"ended"}
    assert set(RULES) == set(check(WANTED, books()))
