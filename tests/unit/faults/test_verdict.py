# SPDX-License-Identifier: Apache-2.0
"""The checker of fault runs finds each bug that is seeded into a good run."""

from collections.abc import Callable

import pytest

from tests.faults.verdict import Found, Invariant, Observed, gaps, invented, lost, twice, vacuous


def good() -> tuple[Observed, dict[str, list[tuple[str, int]]]]:
    """A run in which all is well: two streams, an unknown append that happened and one that did not."""
    observed = Observed(
        done={"s": {"a": 1, "b": 2}, "t": {"d": 1}},
        refused={"s": {"x"}},
        unknown={"s": {"c"}, "t": {"e"}},
        in_flight_at_fault=[5, 4],
    )
    return observed, {"s": [("a", 1), ("b", 2), ("c", 3)], "t": [("d", 1)]}


def complaints(observed: Observed, found: Found) -> dict[str, list[str]]:
    """What each invariant says."""
    everything = {
        "lost": lost(observed, found),
        "twice": twice(found),
        "gap": gaps(found),
        "invented": invented(observed, found),
    }
    return {name: found for name, found in everything.items() if found}


def test_a_good_run_has_no_complaint() -> None:
    """Nothing is found where nothing is wrong."""
    assert complaints(*good()) == {}


@pytest.mark.parametrize(
    ("seed", "wanted"),
    [
        (lambda found: found["s"].pop(1), {"lost", "gap"}),
        (lambda found: found["t"].clear(), {"lost"}),
        (lambda found: found["s"].__setitem__(slice(0, 2), [("b", 1), ("a", 2)]), {"lost"}),
        (lambda found: found["s"].append(("a", 4)), {"lost", "twice"}),
        (lambda found: found["s"].append(("x", 4)), {"invented"}),
        (lambda found: found["t"].append(("nobody", 2)), {"invented"}),
        (lambda found: found["s"].__setitem__(2, ("c", 4)), {"gap"}),
    ],
    ids=["dropped", "wiped", "swapped", "repeated", "refused", "foreign", "skipped"],
)
def test_each_seeded_bug_is_found(seed: Callable[[dict[str, list[tuple[str, int]]]], object], wanted: set[str]) -> None:
    """The invariant that a bug breaks says so."""
    observed, found = good()
    seed(found)
    assert complaints(observed, found).keys() == wanted


def test_a_run_that_proves_nothing_is_broken() -> None:
    """Too few faults, idle faults or too many unknown outcomes: not ok, even without a violation."""
    observed, _ = good()
    assert vacuous(observed, 2, least_in_flight=2, most_unknown=0.5) == ""
    assert vacuous(observed, 3, least_in_flight=2, most_unknown=0.5)
    assert vacuous(observed, 2, least_in_flight=5, most_unknown=0.5)
    assert vacuous(observed, 2, least_in_flight=2, most_unknown=0.1)
    assert not Invariant("n", 1, 1, [], "idle").holds
    assert Invariant("n", 1, 1, [], "idle").line().endswith("broken (idle)")
