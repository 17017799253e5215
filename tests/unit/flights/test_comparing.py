# SPDX-License-Identifier: Apache-2.0
"""The comparison of the demo finds what is wrong."""

from copy import deepcopy

import pytest

from flights.data import FLIGHTS, data_folder
from flights.demo.comparing import differences
from flights.reference import COUNTED, Reference, count_flights


@pytest.fixture(scope="module")
def counted() -> Reference:
    """The first of January."""
    return count_flights(data_folder() / FLIGHTS, [1], [1])


def test_equal_totals_do_not_differ(counted: Reference) -> None:
    """The reference equals itself."""
    assert differences("aircraft", deepcopy(counted.aircraft), counted.aircraft) == []


def test_each_seeded_difference_is_found(counted: Reference) -> None:
    """One off in any count of one aircraft, one view too few, one too many: each is a difference, and names its key."""
    for name in COUNTED:
        got = deepcopy(counted.aircraft)
        got["N14228"][name] += 1
        (found,) = differences("aircraft", got, counted.aircraft)
        assert "N14228" in found
        assert name in found
    (missing,) = differences("carriers", {k: v for k, v in counted.carriers.items() if k != "UA"}, counted.carriers)
    assert "carriers UA" in missing
    (more,) = differences("airports", {**counted.airports, "XXX": {}}, counted.airports)
    assert "airports XXX" in more
