# SPDX-License-Identifier: Apache-2.0
"""A perspective is the diffing schema of its rows."""

import hashlib
from typing import Annotated, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import Field, computed_field

from nerv.errors import Invalid, Misconfigured
from nerv.perspectives import DiffSchema, Identifier, Ignored, Perspective, Tolerance

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NUMBERS = st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
EXACT = DiffSchema("Pair", ("key",), ("a", "b"))


class Plane(Perspective):
    """A plane, to be compared."""

    tailnum: Annotated[str, Identifier()]
    seats: int
    weight: Annotated[float | None, Tolerance(0.5)]
    seen: Annotated[str, Ignored()] = ""
    hidden: int = Field(0, exclude=True)

    @computed_field  # type: ignore[prop-decorator]  # pydantic's documented form
    @property
    def large(self) -> bool:
        """Many seats."""
        return self.seats > 200


def digest(schema: DiffSchema, row: dict[str, Any]) -> bytes:
    """As `sync` may take it."""
    return hashlib.blake2b(schema.canonical(row), digest_size=16).digest()


def test_the_schema_is_what_the_class_says() -> None:
    """Identifiers, compared, ignored and computed fields and tolerances; fields that are not shown are not in it."""
    schema = Plane.diff_schema()
    assert schema == DiffSchema(
        "Plane", ("tailnum",), ("seats", "weight", "large"), ("seen",), ("large",), {"weight": 0.5}
    )
    assert Plane.diff_schema() is schema
    assert {schema: 1}[Plane.diff_schema()] == 1


def test_rows_of_states_are_compared_by_it() -> None:
    """Within the tolerance and in what is ignored nothing differs; elsewhere the attributes that differ are named."""
    schema = Plane.diff_schema()
    one = Plane.diff_row({"tailnum": "N1", "seats": 180, "weight": 70.0, "seen": "mon"})
    same = Plane.diff_row({"tailnum": "N1", "seats": 180, "weight": 70.5, "seen": "tue"})
    other = Plane.diff_row({"tailnum": "N1", "seats": 220, "weight": None})
    assert schema.equal(one, same)
    assert not schema.equal(one, other)
    assert schema.differences(one, other) == ("seats", "weight", "large")
    assert schema.identity(one) == ("N1",)


@given(JSON, JSON)
def test_without_tolerances_digests_are_equal_exactly_when_rows_are(a: Any, b: Any) -> None:
    """Each way round, whatever the values are."""
    one, other = {"key": 1, "a": a}, {"key": 1, "a": b}
    assert EXACT.exact
    assert (
        (digest(EXACT, one) == digest(EXACT, other)) == EXACT.equal(one, other) == (not EXACT.differences(one, other))
    )
    assert EXACT.equal(one, dict(one))


@given(JSON | NUMBERS, JSON | NUMBERS, st.floats(1e-9, 1e9))
def test_with_a_tolerance_equal_digests_hide_no_difference(a: Any, b: Any, width: float) -> None:
    """Rows with one digest are equal; and the comparison does not depend on the order of the two."""
    schema = DiffSchema("Pair", ("key",), ("a",), tolerance={"a": width})
    try:
        same = schema.canonical({"a": a}) == schema.canonical({"a": b})
        equal = schema.equal({"a": a}, {"a": b})
    except Invalid:  # more than 64 bits inside of a list
        assume(False)
    assert equal or not same
    assert equal == schema.equal({"a": b}, {"a": a})


@given(st.floats(-1e12, 1e12), st.floats(1e-3, 1e3), st.floats(0, 1))
def test_within_a_tolerance_nothing_differs(number: float, width: float, part: float) -> None:
    """Numbers that are apart by less than the tolerance are equal."""
    schema = DiffSchema("Pair", ("key",), ("a",), tolerance={"a": width})
    near = number + part * width * 0.5
    assume(abs(near - number) <= width)
    assert schema.equal({"a": number}, {"a": near})


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1.0), (1, True), (1, "1"), (None, ...), ([1, 2], [2, 1]), (2**53, float(2**53)), ({}, None)]
)
def test_what_looks_alike_is_not_equal(a: Any, b: Any) -> None:
    """Type, order and absence count, to the comparison and to the digest."""
    one, other = {"a": a}, {} if b is ... else {"a": b}
    assert not EXACT.equal(one, other)
    assert digest(EXACT, one) != digest(EXACT, other)


def test_a_large_whole_number_and_a_float_are_told_apart_exactly() -> None:
    """The difference is not lost in the conversion of one to the other."""
    schema = DiffSchema("Pair", ("key",), ("a",), tolerance={"a": 0.5})
    assert not schema.equal({"a": 2**53 + 1}, {"a": float(2**53)})
    assert not schema.equal({"a": 10**400}, {"a": 1.0})
    assert schema.equal({"a": 2**53}, {"a": float(2**53)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"x": float("nan")}], {1: 2}, b"x", 2**70])
def test_what_is_not_json_is_refused(value: Any) -> None:
    """Not a number is not null, and bytes, large numbers and numbered keys are not guessed at."""
    with pytest.raises(Invalid, match="Pair: a row"):
        EXACT.canonical({"a": value, "b": None})


@pytest.mark.parametrize("value", [None, "", True, 1.5, ["N1"]])
def test_an_identifier_is_text_or_a_whole_number(value: Any) -> None:
    """Anything else names no entity."""
    with pytest.raises(Invalid, match="identifier key is"):
        EXACT.identity({"key": value})


def test_a_perspective_without_identifier_is_no_diffing_schema() -> None:
    """The refusal says what to mark."""

    class Nameless(Perspective):
        seats: int

    with pytest.raises(Misconfigured, match="mark at least one field"):
        Nameless.diff_schema()


def test_misdeclared_markers_are_refused_where_they_are_declared() -> None:
    """A tolerance on text or a boolean, two markers on a field, an identifier that may be missing."""
    with pytest.raises(Misconfigured, match=r"Text\.name has a tolerance and is no number"):

        class Text(Perspective):
            name: Annotated[str | None, Tolerance(1)]

    with pytest.raises(Misconfigured, match=r"Flag\.on has a tolerance"):

        class Flag(Perspective):
            on: Annotated[bool, Tolerance(1)]

    with pytest.raises(Misconfigured, match=r"Both\.key is marked Identifier, Ignored"):

        class Both(Perspective):
            key: Annotated[str, Identifier(), Ignored()]

    with pytest.raises(Misconfigured, match=r"Maybe\.key is an identifier"):

        class Maybe(Perspective):
            key: Annotated[str | None, Identifier()]

    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(Misconfigured, match="above 0"):
            Tolerance(wrong)


def test_a_schema_made_by_hand_is_checked_too() -> None:
    """A field is one of identifier, compared and ignored, and a tolerance belongs to a compared one."""
    with pytest.raises(Misconfigured, match="a can be one of"):
        DiffSchema("Pair", ("a",), ("a",))
    with pytest.raises(Misconfigured, match="not b"):
        DiffSchema("Pair", ("key",), ("a",), ("b",), tolerance={"b": 1})
