# SPDX-License-Identifier: Apache-2.0
"""What views are found by: the order of values is that of bytes, and nothing is taken for something else."""

import math
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nerv
from nerv.app.specs import Index
from nerv.errors import Invalid, Misconfigured, TooLarge
from nerv.projections.indexes import Indexes, member, parts, span

# Few characters, and all that matter: separators and escapes, digits, what sorts around them, one of each length in UTF-8.
LETTERS = "aAzZ09 -~\xe9\u20ac\U0001f600"
KEYS = st.text(LETTERS, min_size=1, max_size=6)
TEXTS = st.text(LETTERS + "\x00\x01\x02\x03\n\x7f", max_size=6)
NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False))
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone


def index(kind: type, by: Any = "it") -> Indexes:
    """One index, `x`."""
    return Indexes("p", {"x": Index(by, kind)})


def entry(kind: type, value: Any) -> str:
    """The entry of a value."""
    [found] = index(kind).entries({"it": value})
    return found


def held(kind: type, value: Any, **asked: str) -> bool:
    """Whether a value lies within what is asked for."""
    found = span("x", kind, **asked)
    return found.low <= member(entry(kind, value), "k") < found.high


@given(st.one_of(st.lists(st.tuples(TEXTS, KEYS), max_size=20).map(lambda p: (str, p)),
                 st.lists(st.tuples(NUMBERS, KEYS), max_size=20).map(lambda p: (float, p)),
                 st.lists(st.tuples(INSTANTS, KEYS), max_size=20).map(lambda p: (datetime, p))))  # fmt: skip
def test_members_are_in_the_order_of_values(pairs: tuple[type, list[tuple[Any, str]]]) -> None:
    """Then of keys; and each gives its key back."""
    kind, found = pairs

    def order(pair: tuple[Any, str]) -> Any:
        value, key = pair
        return (value.encode() if kind is str else value), key.encode()

    members = sorted({member(entry(kind, value), key) for value, key in found})
    wanted = [member(entry(kind, value), key) for value, key in sorted(found, key=order)]
    assert members == list(dict.fromkeys(wanted))
    assert all(parts(member(entry(kind, value), key).decode()) == (entry(kind, value), key) for value, key in found)


@given(TEXTS, TEXTS)
def test_a_text_is_found_by_itself_and_by_how_it_begins(value: str, other: str) -> None:
    """And by no other."""
    assert held(str, value, equals=value)
    assert held(str, value, equals=other) == (value == other)
    assert held(str, value, prefix=other) == value.startswith(other)
    assert held(str, value, low=other) == (value.encode() >= other.encode())
    assert held(str, value, high=other) == (value.encode() <= other.encode())


@given(NUMBERS, NUMBERS)
def test_a_number_is_found_from_and_to_others(value: float, other: float) -> None:
    """Both ends included."""
    assert held(float, value, equals=repr(other)) == (float(value) == float(other))
    assert held(float, value, low=repr(other)) == (float(value) >= float(other))
    assert held(float, value, high=repr(other)) == (float(value) <= float(other))


class Gate(StrEnum):
    """As states have them."""

    A1 = "a1"


@pytest.mark.parametrize(
    ("kind", "value", "asked"),
    [
        (str, Gate.A1, "a1"),
        (bool, True, "true"),
        (bool, False, "false"),
        (int, 7, "7"),
        (int, -0.0, "0"),
        (datetime, datetime(2013, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "2013-01-01T00:00:00Z"),
        (datetime, "2013-01-01T00:00:00.5Z", "2013-01-01T01:00:00.500+01:00"),
    ],
)
def test_values_are_asked_for_as_people_write_them(kind: type, value: Any, asked: str) -> None:
    """Whatever form they have in the state."""
    assert held(kind, value, equals=asked)


def test_a_state_has_one_value_several_or_none() -> None:
    """By a path or a function, of a mapping or an object; each once."""
    assert index(str, "position.city").entries({"position": {"city": "Tampa"}}) == ("x\x01Tampa",)
    assert index(str, "position.city").entries({"position": None}) == ()
    assert index(int, "year").entries(datetime(2013, 1, 1, tzinfo=UTC)) == index(int).entries({"it": 2013})
    assert index(str, lambda state: state["tags"]).entries({"tags": ["a", "b", None, "a"]}) == ("x\x01a", "x\x01b")
    assert index(str).entries(None) == ()


@pytest.mark.parametrize(
    ("kind", "value", "error", "says"),
    [
        (str, 5, Invalid, "index x of projection p: a value of type int, and the index is of kind text"),
        (int, "5", Invalid, "of type str, and the index is of kind number"),
        (int, True, Invalid, "of type bool"),
        (float, math.nan, Invalid, "NaN"),
        (int, 10**400, Invalid, "beyond"),
        (datetime, datetime(2013, 1, 1), Invalid, "lacks an offset"),  # noqa: DTZ001 - that is the point
        (datetime, "soon", Invalid, "not an RFC 3339 instant"),
        (str, "a" * 257, TooLarge, "257 characters; the limit is 256"),
        (str, ["a"] * 65, TooLarge, "65 values; the limit is 64"),
    ],
)
def test_what_an_index_cannot_hold_is_refused(kind: type, value: Any, error: type[Exception], says: str) -> None:
    """By name, and without the value, which not everybody may see."""
    with pytest.raises(error, match=says):
        index(kind).entries({"it": value})


@pytest.mark.parametrize(
    ("kind", "asked", "says"),
    [
        (int, {"equals": "many"}, "equals must read as number, not 'many'"),
        (datetime, {"low": "2013-01-01T00:00:00"}, "low must read as instant"),
        (bool, {"high": "yes"}, "high must read as true or false"),
        (int, {"prefix": "1"}, "prefix is of texts"),
        (float, {"equals": "nan"}, "must read as number"),
    ],
)
def test_what_cannot_be_asked_is_said(kind: type, asked: dict[str, str], says: str) -> None:
    """With what would be right."""
    with pytest.raises(Invalid, match=says):
        span("x", kind, **asked)


def test_an_index_is_declared_by_a_type_or_in_full() -> None:
    """Of a projection whose views have keys; of a type that has an order."""
    app = nerv.App("test")
    late = nerv.Index(lambda state: state["delay"] > 60, bool)
    app.projection("plane", indexes={"position.city": str, "late": late})(lambda state, event: state)
    assert app.projections["plane"].indexes == {"position.city": Index("position.city", str), "late": late}
    with pytest.raises(Misconfigured, match="of one of the types str, int"):
        app.projection("other", indexes={"it": dict})(lambda state, event: state)
    with pytest.raises(Misconfigured, match="leave indexes out"):
        app.projection("total", merge=max, indexes={"it": int})
    with pytest.raises(Misconfigured, match="by a field such as"):
        nerv.Index("a..b")


def test_an_index_that_is_made_otherwise_has_another_digest() -> None:
    """So that it is told from one that older views stand in."""
    digests = [
        index(kind, by).digests["x"] for kind, by in ((str, "a"), (str, "b"), (int, "a"), (str, lambda s: s["a"]))
    ]
    assert len(set(digests)) == 4
    assert index(str, "a").digests["x"] == digests[0]
