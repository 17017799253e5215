# SPDX-License-Identifier: Apache-2.0
"""Keys and digests of rows: none collide, and in bulk they are what they are one by one."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerv.errors import Invalid, TooLarge
from nerv.perspectives import DiffSchema
from nerv.sync.schema import Digester, Schema, WholeRow, key_of

SCHEMA = DiffSchema("thing", ("k",), ("a", "b"), ("note",))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, "null", "\n", ",\n,", "1", "x\u2028y", '"', "]"]),
    st.lists(st.none() | st.integers(0, 1), max_size=2),
    st.dictionaries(st.sampled_from("xy"), st.none() | st.just("null"), max_size=2),
)
ROWS = st.dictionaries(st.sampled_from(["a", "b", "note", "k"]), VALUES, max_size=4)


@settings(deadline=None)
@given(st.lists(ROWS, max_size=5))
def test_digests_in_bulk_are_those_one_by_one(rows: list[dict[str, Any]]) -> None:
    """Whatever the rows lack, and whatever looks like a null or like the end of a row."""
    for schema in (SCHEMA, WholeRow("thing", ("k",))):
        digester = Digester(schema)
        assert digester.many(rows) == [digester(row) for row in rows]


@settings(deadline=None, max_examples=300)
@given(ROWS, ROWS)
def test_digests_are_equal_exactly_for_rows_that_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    """By the schema: what is ignored does not count, types do."""
    for schema in (SCHEMA, WholeRow("thing", ("k",))):
        digester = Digester(schema)
        assert (digester(one) == digester(other)) is schema.equal(one, other)


@pytest.mark.parametrize("value", [math.nan, math.inf, [math.nan], {1, 2}, object()])
def test_what_is_not_json_has_no_digest(value: Any) -> None:
    """It is refused, also among other rows, and is not taken for null."""
    with pytest.raises(Invalid):
        Digester(SCHEMA).many([{"a": 1, "b": 2}, {"a": None, "b": value}])


def test_keys_do_not_collide() -> None:
    """diffsync joins identifiers by `__`; here neither that nor anything else makes two objects one."""
    pairs = [
        ("a__b", "c"),
        ("a", "b__c"),
        ("a", "b"),
        ("a__b__c", "d"),
        ('a","b', "c"),
        ("a", 'b","c'),
        ("1", "2"),
        ("12", "3"),
    ]
    assert len({key_of(("x", "y"), {"x": x, "y": y}) for x, y in pairs}) == len(pairs)
    assert key_of(("k",), {"k": "a__b"}) == "a__b"
    assert key_of(("k",), {"k": 7}) == key_of(("k",), {"k": "7"}) == "7"


@pytest.mark.parametrize("value", [None, "", 1.5, True, [1]])
def test_what_is_no_identifier_is_refused(value: Any) -> None:
    """Missing, empty, or neither a text nor a whole number."""
    for identifiers in (("k",), ("k", "l")):
        with pytest.raises(Invalid):
            key_of(identifiers, {"k": value, "l": value})
    with pytest.raises(TooLarge):
        key_of(("k",), {"k": "x" * 300})
    with pytest.raises(Invalid, match="control"):
        key_of(("k",), {"k": "a\nb"})


def test_another_way_of_comparing_has_another_fingerprint() -> None:
    """Digests of one say nothing about another."""
    schemas: list[Schema] = [
        SCHEMA,
        DiffSchema("thing", ("k",), ("b", "a"), ("note",)),
        DiffSchema("thing", ("k",), ("a", "b"), ("note",), tolerance={"a": 0.5}),
        DiffSchema("thing", ("k",), ("a", "b"), ("note",), tolerance={"a": 0.6}),
        WholeRow("thing", ("k",)),
    ]
    assert len({Digester(schema).fingerprint for schema in schemas}) == len(schemas)
    assert Digester(SCHEMA).fingerprint == Digester(DiffSchema("thing", ("k",), ("a", "b"), ("note",))).fingerprint
