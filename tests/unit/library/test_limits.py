# SPDX-License-Identifier: Apache-2.0
"""The depth of JSON is known before it is parsed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nerv.errors import TooLarge
from nerv.limits import check_json_depth

values = st.recursive(
    st.none() | st.integers() | st.text('{}[]"\\ab', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('{}[]"\\a', max_size=3), inner, max_size=3),
    max_leaves=60,
)


def depth_of(value: object) -> int:
    """How deep a value is nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(values, st.integers(1, 6))
def test_it_is_refused_exactly_when_it_is_too_deep(value: object, limit: int) -> None:
    """Brackets in strings do not count, whatever is escaped there."""
    body = json.dumps(value).encode()
    if depth_of(value) > limit:
        with pytest.raises(TooLarge, match=str(limit)):
            check_json_depth(body, limit)
    else:
        check_json_depth(body, limit)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 33 + b"]" * 33, b"[[]" * 40])
def test_what_opens_too_deep_is_refused_whether_it_is_closed_or_not(body: bytes) -> None:
    """The parser never sees it."""
    with pytest.raises(TooLarge):
        check_json_depth(body, 32)


@pytest.mark.parametrize("body", [b"[{}]" * 1000, b"}{" * 1000, b"[" * 32 + b"]" * 32, b'"' + b"[" * 1000 + b'"'])
def test_what_is_broken_but_not_deep_is_left_to_the_parser(body: bytes) -> None:
    """It is no business of this check."""
    check_json_depth(body, 32)
