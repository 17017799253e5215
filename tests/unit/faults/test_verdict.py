# SPDX-License-Identifier: Apache-2.0
"""The verdict on an invariant."""

from tests.faults.verdict import Invariant


def test_a_run_that_proves_nothing_is_broken() -> None:
    """Not ok, even without a violation."""
    assert Invariant("n", 5, 2, []).line() == "FAULT n ops=5 faults=2 violations=0 ok"
    assert not Invariant("n", 1, 1, [], "idle").holds
    assert Invariant("n", 1, 1, [], "idle").line().endswith("broken (idle)")
    assert Invariant("n", 1, 1, ["x"]).line().endswith("violations=1 broken")
