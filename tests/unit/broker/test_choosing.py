# SPDX-License-Identifier: Apache-2.0
"""Which events a subscriber wants."""

import pytest

from nerv.errors import Invalid
from nerv.types import Event, utc_now
from nerv_broker.subscriptions.choosing import LONGEST, Wanted, chooser

EVENT = Event(
    "1", "test", "flight.departed.v1", utc_now(), b'{"delay": 35, "origin": "JFK", "legs": [], "zero": 0}', subject="N1"
)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (Wanted(), True),
        (Wanted(types=frozenset({"flight.departed.v1"})), True),
        (Wanted(types=frozenset({"flight.*", "x"})), True),
        (Wanted(types=frozenset({"flight"})), False),
        (Wanted(subjects=frozenset({"N*"})), True),
        (Wanted(subjects=frozenset({"N2"})), False),
        (Wanted(where="delay > `30`"), True),
        (Wanted(where="delay > `35`"), False),
        (Wanted(where="origin == 'JFK' && delay >= `35`"), True),
        (Wanted(where="contains(['LGA', 'EWR'], origin)"), False),
        (Wanted(where="missing"), False),
        (Wanted(where="legs"), False),
        (Wanted(where="zero"), True),
        (Wanted(where="length(delay) > `1`"), False),
        (Wanted(types=frozenset({"flight.*"}), where="origin == 'LGA'"), False),
    ],
)
def test_all_that_is_asked_must_hold(wanted: Wanted, chosen: bool) -> None:
    """Type, subject and fields; a field that is not there, or of another type, is not what was asked for."""
    assert chooser(wanted)(EVENT) is chosen


def test_data_that_is_no_json_has_no_fields() -> None:
    """And an event without a subject is none of any subjects."""
    bare = Event("1", "test", "a", utc_now(), b"\xff\xfe")
    assert not chooser(Wanted(where="@"))(bare)
    assert not chooser(Wanted(subjects=frozenset({"*"})))(bare)
    assert chooser(Wanted())(bare)


@pytest.mark.parametrize("text", ["delay >", "", "'", "x" * (LONGEST + 1), "[" * 900, "f(@)"])
def test_what_is_no_expression_is_refused_or_finds_nothing(text: str) -> None:
    """With an example of one; a function that is not there is only found when it is called."""
    if text == "f(@)":
        assert not chooser(Wanted(where=text))(EVENT)
        return
    with pytest.raises(Invalid, match="where"):
        chooser(Wanted(where=text))
