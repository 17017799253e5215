# SPDX-License-Identifier: Apache-2.0
"""Bare records at the broker's door: what is written, and what is refused before anything is."""

import json
from typing import Any

import pytest

from nerv.errors import Invalid, TooLarge
from nerv.kafka import Outgoing
from nerv.limits import Limits
from nerv_broker.topics.records import outgoing

LIMITS = Limits(batch=3, event=10, header=20, headers=2)


def read(document: Any) -> list[Outgoing]:
    """The records of a body."""
    return outgoing("t", 4, json.dumps(document).encode(), LIMITS)


def test_records_are_written_as_they_are() -> None:
    """Text and bytes, with and without a key, to a partition or to where the key leads; a value that is left out is none."""
    found = read(
        [
            {"key": "k", "value": "v", "headers": {"a": "ü"}, "partition": 3},
            {"key_base64": "AAE=", "value_base64": "/w=="},
            {"key": "gone"},
        ]
    )
    assert found == [
        Outgoing("t", b"v", b"k", [("a", "ü".encode())], 3),
        Outgoing("t", b"\xff", b"\x00\x01", [], -1),
        Outgoing("t", None, b"gone", [], -1),
    ]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "array"),
        ([], "empty"),
        ([1], r"records\[0\]"),
        ([{}, {"values": 1}], r"records\[1\]"),
        ([{"value": 1}], "must be a string"),
        ([{"value": "a", "value_base64": "YQ=="}], "both"),
        ([{"value_base64": "x"}], "not base64"),
        ([{"value_base64": 7}], "not base64"),
        ([{"partition": 4}], "0 to 3"),
        ([{"partition": True}], "0 to 3"),
        ([{"headers": {"a": 1}}], "strings"),
        ([{"headers": []}], None),
        ([{"headers": ["a"]}], "strings"),
        ([{"headers": {"a\nb": "1"}}], "printable"),
        ([{"headers": {"a": "x" * 30}}], "NERV_LIMITS__HEADER"),
        ([{"headers": {"a": "", "b": "", "c": ""}}], "NERV_LIMITS__HEADERS"),
        ([{"key": "x" * 30}], "NERV_LIMITS__HEADER"),
    ],
)
def test_what_is_wrong_is_named(document: Any, words: str | None) -> None:
    """With the record and the part of it."""
    if words is None:  # nothing is nothing
        assert read(document)
        return
    with pytest.raises(Invalid, match=words):
        read(document)


def test_limits_hold() -> None:
    """Number and size."""
    with pytest.raises(TooLarge):
        read([{}] * 4)
    with pytest.raises(TooLarge):
        read([{"value": "x" * 11}])
