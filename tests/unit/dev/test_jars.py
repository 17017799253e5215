# SPDX-License-Identifier: Apache-2.0
"""How the fetching of Kafka's jars is told."""

from nerv.dev.jars import milestone, pinned


def test_a_fetch_is_told_in_five_lines() -> None:
    """The first jar, each quarter, the last; also of a number that four does not divide, and of very few."""
    total = len(pinned())
    assert [done for done in range(1, 47) if milestone(done, 46)] == [1, 12, 23, 35, 46]
    assert 4 <= sum(milestone(done, total) for done in range(1, total + 1)) <= 5
    assert [done for done in range(1, 3) if milestone(done, 2)] == [1, 2]
