# SPDX-License-Identifier: Apache-2.0
"""The delta between two written states is the delta between the states."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from nerv.state import Delta, between, freeze, thaw, written_between

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.0, 1.0, 0.5]) | st.sampled_from("abc"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def canonical(value: Any) -> bytes:
    """A JSON document in one way only."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


@given(VALUES, VALUES)
def test_it_is_what_between_gives(old: Any, new: Any) -> None:
    """Of any two JSON documents, whatever numbers and truth values are equal to Python."""
    made = orjson.loads(written_between(orjson.dumps(old), orjson.dumps(new)))
    wanted = orjson.loads(between(old, new).to_bytes())
    assert sorted(map(canonical, made)) == sorted(map(canonical, wanted))


@given(VALUES, VALUES)
def test_it_leads_from_one_to_the_other(old: Any, new: Any) -> None:
    """Applied to the first state it gives the second."""
    delta = Delta.from_bytes(written_between(orjson.dumps(old), orjson.dumps(new)))
    assert canonical(thaw(delta.apply(freeze(old)))) == canonical(new)
