# SPDX-License-Identifier: Apache-2.0
"""Where a read of many streams goes on: offsets by partition, as text. Pure.

A position, `0:42,1:17`, names the next offset of each partition. A page's token, `0:42-100,1:17-90`, names what is left of
each: offsets from the first number up to but without the second. Both hold on every replica, for ever.
"""

from collections.abc import Mapping

from nerv.errors import Invalid

Position = dict[int, int]
Ranges = dict[int, tuple[int, int]]

LONGEST = 18  # digits of an offset


def format_position(position: Mapping[int, int]) -> str:
    """A position as text."""
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(position.items()))


def format_ranges(ranges: Mapping[int, tuple[int, int]]) -> str:
    """What is left, as text."""
    return ",".join(f"{partition}:{low}-{high}" for partition, (low, high) in sorted(ranges.items()))


def parse_position(text: str, partitions: int, what: str) -> Position:
    """The position of a text that names some partitions, each once. Raises Invalid."""
    return {partition: _offset(value, text, what) for partition, value in _named(text, partitions, what).items()}


def parse_ranges(text: str, partitions: int, what: str) -> Ranges:
    """What is left by a text that names every partition. Raises Invalid."""
    found = _complete(_named(text, partitions, what), partitions, what)
    ranges = {}
    for partition, value in found.items():
        low, _, high = value.partition("-")
        ranges[partition] = (_offset(low, text, what), _offset(high, text, what))
        if ranges[partition][0] > ranges[partition][1]:
            raise _malformed(text, what)
    return ranges


def parse_whole_position(text: str, partitions: int, what: str) -> Position:
    """As `parse_position`, of every partition: a reader that left one out would miss its events."""
    _complete(_named(text, partitions, what), partitions, what)
    return parse_position(text, partitions, what)


def _named(text: str, partitions: int, what: str) -> dict[int, str]:
    pairs = text.split(",", partitions)
    found: dict[int, str] = {}
    for pair in pairs:
        name, _, value = pair.partition(":")
        if not _number(name) or int(name) in found:
            raise _malformed(text, what)
        if int(name) >= partitions:
            raise Invalid(f"{what} names partition {int(name)}; there are 0 to {partitions - 1}")
        found[int(name)] = value
    return found


def _complete(found: dict[int, str], partitions: int, what: str) -> dict[int, str]:
    if len(found) < partitions:
        raise Invalid(f"{what} names {len(found)} of {partitions} partitions; give all of an earlier answer's")
    return found


def _offset(text: str, whole: str, what: str) -> int:
    if not _number(text):
        raise _malformed(whole, what)
    return int(text)


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST


def _malformed(text: str, what: str) -> Invalid:
    return Invalid(f"{what} must be the position of an earlier answer, such as 0:42,1:17, not {text[:60]!r}")
