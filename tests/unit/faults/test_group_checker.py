# SPDX-License-Identifier: Apache-2.0
"""The rules for what members of a group see."""

from tests.faults.broker.groups.checker import Course, Handled, check

RECORDS = {(0, 0): "a", (0, 1): "b", (0, 2): "a", (0, 3): None}


def course(
    *handled: tuple[int, float], dead: frozenset[int] = frozenset(), poison: frozenset[int] = frozenset()
) -> Course:
    """Who has handled which offset when, for one second."""
    runs = [Handled((0, offset), began, began + 1.0) for offset, began in handled]
    return Course(RECORDS, frozenset((0, o) for o in poison), runs, frozenset((0, o) for o in dead))


def broken(found: Course) -> set[str]:
    """The rules that are broken."""
    return {name for name, what in check(found).items() if what}


def test_each_in_order_breaks_no_rule() -> None:
    """Repeats of what was handled before included, and what has no key whenever it comes."""
    assert broken(course((3, 0), (0, 1), (1, 1), (2, 2), (0, 5), (2, 6))) == set()


def test_a_record_that_nobody_handled_is_lost() -> None:
    """Unless it is among the dead letters."""
    assert broken(course((0, 0), (1, 0), (2, 2))) == {"lost"}
    assert broken(course((0, 0), (1, 0), (2, 2), dead=frozenset({3}))) == set()


def test_a_later_record_waits_for_the_earlier_one_of_its_key() -> None:
    """Until it is handled, and for ever where it is dead."""
    assert broken(course((0, 0), (1, 0), (2, 0.5), (3, 0))) == {"order"}
    assert broken(course((1, 0), (2, 9), (3, 0), dead=frozenset({0}))) == {"order"}
    assert broken(course((1, 0), (3, 0), dead=frozenset({0, 2}))) == set()


def test_poison_is_handled_by_nobody() -> None:
    """And stands among the dead letters."""
    rest = ((0, 0), (2, 2), (3, 0))
    assert broken(course(*rest, poison=frozenset({1}), dead=frozenset({1}))) == set()
    assert broken(course(*rest, (1, 0), poison=frozenset({1}), dead=frozenset({1}))) == {"poison"}
    assert "poison" in broken(course(*rest, poison=frozenset({1})))
