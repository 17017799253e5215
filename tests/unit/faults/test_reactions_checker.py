# SPDX-License-Identifier: Apache-2.0
"""The checker of reactions finds each kind of fault, and none where there is none."""

from collections import Counter

import pytest

from tests.faults.broker.reacting.checker import RULES, Outcome, check

WANTED = {"a": [1, 3], "b": [2]}
GOOD = {"a": Counter([1, 3]), "b": Counter([2])}


def test_a_good_history_has_no_violation() -> None:
    """Each effect once, in order, nothing left."""
    assert check(WANTED, Outcome({"a": [1, 3], "b": [2]}, GOOD)) == {rule: [] for rule in RULES}


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (Outcome({"a": [1], "b": [2]}, GOOD), "lost append"),
        (Outcome({"a": [1, 3, 1], "b": [2]}, GOOD), "double append"),
        (Outcome({"a": [3, 1], "b": [2]}, GOOD), "order"),
        (Outcome({"a": [1, 3], "b": [2]}, {"a": Counter([1, 3])}), "lost publish"),
        (Outcome({"a": [1, 3], "b": [2]}, GOOD | {"b": Counter([2, 2])}), "double publish"),
        (Outcome({"a": [1, 3], "b": [2]}, GOOD, lag=1), "lag"),
        (Outcome({"a": [1, 3], "b": [2]}, GOOD, left=1), "left"),
    ],
)
def test_each_fault_is_found_by_its_rule(found: Outcome, rule: str) -> None:
    """And by no other."""
    assert [name for name, complaints in check(WANTED, found).items() if complaints] == [rule]
