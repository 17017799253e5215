# SPDX-License-Identifier: Apache-2.0
"""The checker of suite *temporal*: nothing is wrong with a good history, and each way to break it is found."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from nerv.protocols import Expected
from nerv.protocols.history import Expect
from tests.faults.temporal.checker import RULES, check
from tests.faults.temporal.operations import NEVER, Append, Course, End, Entry, Forgery, Kind, Read, Seen, Sight, digest

ANY = Expected()


def exact(version: int) -> Expected:
    """An exact version."""
    return Expected(Expect.EXACT, version)


ALL = [("s", 1, "a"), ("t", 1, "f"), ("s", 2, "b"), ("s", 3, "c"), ("s", 4, "d")]


def good() -> tuple[Seen, dict[str, list[Entry]]]:
    """Two streams; a conflict, an unknown append that happened and one that did not, a repeat, and reads of each kind."""
    seen = Seen(
        appends=[
            Append("s", ("a",), exact(0), 0.0, 1.0, End.DONE, 1),
            Append("s", ("b", "c"), ANY, 2.0, 3.0, End.DONE, 2),
            Append("s", ("x",), exact(1), 3.5, 4.0, End.CONFLICT, 3),
            Append("s", ("d",), ANY, 4.0, NEVER, End.UNKNOWN),
            Append("s", ("e",), ANY, 4.5, NEVER, End.UNKNOWN),
            Append("s", ("a",), exact(0), 5.0, 6.0, End.DONE, 1, duplicate=True),
            Append("t", ("f",), Expected(Expect.NONE), 1.0, 2.0, End.DONE, 1),
            Append("t", ("y",), Expected(Expect.NONE), 2.5, 3.0, End.CONFLICT, 1),
        ],
        reads=[
            Read("s", Kind.STRONG, 3.2, 3.4, 3, digest(["a", "b", "c"])),
            Read("s", Kind.DEFAULT, 3.2, 3.4, 1, digest(["a"]), least=1),
            Read("s", Kind.KNOWN, 3.2, 3.4, 1, digest(["a"]), known_us=10),
            Read("u", Kind.STRONG, 1.0, 2.0, 0, digest([])),
        ],
        forgeries=[Forgery("s", "a", done=False)],
        courses=[
            Course(None, [Sight(*sight) for sight in ALL], cuts=2, complete=True),
            Course("s", [Sight("s", 1, "a"), Sight("s", 2, "b")], cuts=1),
            Course("never-written"),
        ],
    )
    log = {
        "s": [Entry(1, "a", 10, 0, 3), Entry(2, "b", 20, 0, 6), Entry(3, "c", 20, 0, 7), Entry(4, "d", 30, 0, 9)],
        "t": [Entry(1, "f", 11, 1, 2)],
    }
    return seen, log


def found(seen: Seen, log: dict[str, list[Entry]]) -> set[str]:
    """The rules that complain."""
    return {name for name, complaints in check(seen, log).items() if complaints}


def test_a_good_history_has_no_complaint() -> None:
    """Nothing is found where nothing is wrong."""
    assert found(*good()) == set()


# An event that stands later than its client was told: whatever was said of the versions between is untrue as well.
ALMOST_ALL = {"versions", "acknowledged", "real_time", "conflicts", "strong_reads", "courses"}
Break = Callable[[Seen, dict[str, list[Entry]]], object]


def _append(number: int, **changes: object) -> Break:
    def change(seen: Seen, log: dict[str, list[Entry]]) -> None:
        seen.appends[number] = replace(seen.appends[number], **changes)  # type: ignore[arg-type]  # fields of Append

    return change


def _read(number: int, **changes: object) -> Break:
    def change(seen: Seen, log: dict[str, list[Entry]]) -> None:
        seen.reads[number] = replace(seen.reads[number], **changes)  # type: ignore[arg-type]  # fields of Read

    return change


def _course(number: int, *sights: tuple[str, int, str]) -> Break:
    def change(seen: Seen, log: dict[str, list[Entry]]) -> None:
        seen.courses[number].sights = [Sight(*sight) for sight in sights]

    return change


@pytest.mark.parametrize(
    ("break_it", "wanted"),
    [
        (
            lambda seen, log: log["s"].pop() and seen.courses[0].sights.pop(),
            set(),
        ),  # an unknown append that never happened
        (lambda seen, log: log["s"].pop(), {"courses"}),  # but then nobody may see it
        (lambda seen, log: log["s"].pop(0), {"versions", "acknowledged", "prefixes", "known_reads", "courses"}),
        (lambda seen, log: log["t"].clear(), {"acknowledged", "conflicts", "courses"}),
        (lambda seen, log: log["s"].append(Entry(5, "a", 40, 0, 10)), ALMOST_ALL),
        (lambda seen, log: log["s"].append(Entry(4, "e", 40, 0, 10)), {"versions", "courses"}),
        (lambda seen, log: log["s"].append(Entry(5, "x", 40, 0, 10)), {"absent", "courses"}),
        (lambda seen, log: log["s"].append(Entry(5, "nobody", 40, 0, 10)), {"absent", "courses"}),
        (lambda seen, log: log["s"].append(Entry(5, "e", 25, 0, 10)), {"versions", "courses"}),
        (lambda seen, log: seen.forgeries.append(Forgery("s", "b", done=True)), {"absent"}),
        (_append(0, version=2), {"acknowledged"}),
        (_append(1, expected=exact(2)), {"acknowledged"}),
        (_append(6, expected=Expected(Expect.EXISTS)), {"acknowledged"}),
        (_append(4, ids=("d", "e")), {"whole"}),
        (_append(3, invoked=0.1, completed=1.5, end=End.DONE, version=4), {"real_time", "conflicts", "strong_reads"}),
        (_append(2, version=1), {"conflicts"}),
        (_append(2, version=2), {"conflicts"}),
        (_append(2, version=9), {"conflicts"}),
        (_append(7, version=0), {"conflicts"}),
        (_read(0, length=2, digest=digest(["a", "b"])), {"strong_reads"}),
        (_read(0, completed=1.9, invoked=1.5), {"strong_reads"}),
        (_read(0, digest=digest(["a", "b", "d"])), {"prefixes"}),
        (_read(1, length=9), {"prefixes"}),
        (_read(1, least=2), {"prefixes"}),
        (_read(2, known_us=20), {"known_reads"}),
        (_course(0, *ALL[:-1]), {"courses"}),  # the end never came
        (_course(0, *ALL[:2], *ALL[3:]), {"courses"}),  # a gap
        (_course(0, *ALL[:3], *ALL[2:]), {"courses"}),  # a double
        (_course(0, *ALL, *ALL), {"courses"}),  # all of it again
        (_course(0, *ALL[:2], ALL[3], ALL[2], ALL[4]), {"courses"}),  # out of order
        (_course(0, *ALL, ("s", 5, "e")), {"courses"}),  # what did not happen
        (_course(0, *ALL[:4], ("s", 5, "d")), {"courses"}),  # another version
        (_course(0, ALL[1], ALL[0], *ALL[2:]), set()),  # partitions in any order
        (_course(1, ("s", 2, "b")), {"courses"}),
        (_course(1), set()),  # it was cut off before anything came
        (_course(1, ("s", 1, "a"), ("t", 1, "f")), {"courses"}),  # another stream's
    ],
)
def test_each_way_to_break_it_is_found(break_it: Break, wanted: set[str]) -> None:
    """The rules that a break concerns complain, and no others."""
    seen, log = good()
    break_it(seen, log)
    assert found(seen, log) == wanted


def test_every_rule_is_broken_by_some_test() -> None:
    """No rule is one that never complains."""
    broken: set[str] = set()
    for mark in test_each_way_to_break_it_is_found.pytestmark:  # type: ignore[attr-defined]  # set by parametrize
        for _, wanted in mark.args[1]:
            broken |= wanted
    assert broken == {rule.__name__ for rule in RULES}
