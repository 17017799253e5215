# SPDX-License-Identifier: Apache-2.0
"""The checker of a topic's door: it accepts what is right, and each rule finds its bug."""

import pytest

from tests.faults.broker.door.checker import RULES, Outcome, Told, check, seeded

GOOD = Outcome(
    unfit=frozenset({"bad", "mended"}),
    told=[Told("good", (0, 1), letter=False), Told("bad", (0, 0), letter=True), Told("mended", (1, 0), letter=True)],
    events={"good": [(0, 1)], "mended": [(1, 7)]},
    letters={"bad": [(0, 0)], "mended": [(1, 0)]},
    repaired=frozenset({"mended"}),
)


def test_what_is_right_breaks_no_rule() -> None:
    """An event, a letter that was discarded, and one that was mended and is an event now."""
    assert not any(check(GOOD).values())


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_each_rule_finds_its_bug(rule: str) -> None:
    """The same course with one thing wrong."""
    assert check(seeded(GOOD)[rule])[rule]


def test_a_repaired_event_that_stands_twice_is_found() -> None:
    """A replay that was repeated must not publish again."""
    twice = Outcome(GOOD.unfit, GOOD.told, {**GOOD.events, "mended": [(1, 7), (1, 8)]}, GOOD.letters, GOOD.repaired)
    assert check(twice)["double"] == ["mended is 2 times among the events"]
