# SPDX-License-Identifier: Apache-2.0
"""What `make fuzz` holds parsers to, on examples and what is near them."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerv.cloudevents import from_record
from tests.fuzz.targets import EXAMPLES, TARGETS

NAMES = [target.__name__ for target in TARGETS]


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@settings(max_examples=60)
@given(data=st.data())
def test_parsers_answer_or_refuse(target: Callable[[bytes], None], data: st.DataObject) -> None:
    """Examples, cut anywhere, with anything in between; what was taken can be written and read again."""
    example = EXAMPLES[target.__name__]
    target(example)
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(example)), st.integers(0, len(example)))))
    target(example[:start] + data.draw(st.binary(max_size=20)) + example[end:])
    target(data.draw(st.binary(max_size=100)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("structured", b'{"specversion":"1.0","id":"1","source":"s","type":"t","sequence":"\xc2\xb2"}'),
        ("record", b"1\ns\nt\n1.0\n\n\n\n\n\n\n\n" + b"9" * 5000),
        ("binary", b"\xb2\ns\nt\n1.0\n\xb2"),
        ("names", b"t/\xc2\xb2/1"),
        ("position", b"\xc2\xb2:1"),
    ],
)
def test_what_python_takes_for_digits_is_no_number(name: str, data: bytes) -> None:
    """Superscripts, and more digits than an integer may be read from."""
    TARGETS[NAMES.index(name)](data)


@pytest.mark.parametrize("timestamp", [-1, 0, 1_700_000_000_000_000, 2**63 - 1])
def test_a_time_stamp_that_no_calendar_has_stops_nobody(timestamp: int) -> None:
    """Bare clients write microseconds where milliseconds belong."""
    assert from_record([], b"", origin="t/0/1", timestamp_ms=timestamp).time.year in (1970, 9999)
