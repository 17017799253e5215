# SPDX-License-Identifier: Apache-2.0
"""What a span has touched, as its attributes: places of topics, and events of streams. Pure."""

from collections.abc import Sequence

from opentelemetry.util.types import AttributeValue

from nerv.telemetry import names as n

MOST = 16  # ranges that are named; a span is no list of a batch


def places(found: Sequence[tuple[str, int, int]]) -> dict[str, AttributeValue]:
    """Topic, partition and offset of each record: of one by itself, of several as ranges `topic[partition]@first-last`."""
    if not found:
        return {}
    if len(found) == 1:
        topic, partition, offset = found[0]
        return {n.DESTINATION: topic, n.PARTITION: str(partition), n.OFFSET: offset}
    ranges: dict[str, tuple[int, int]] = {}
    for topic, partition, offset in found:
        _widen(ranges, f"{topic}[{partition}]", offset)
    return {n.PLACES: _named(ranges)}


def streams(found: Sequence[tuple[str, int]]) -> dict[str, AttributeValue]:
    """Stream and version of each event: of one by itself, of several as ranges `stream@first-last`."""
    if not found:
        return {}
    if len(found) == 1:
        return {n.STREAM: found[0][0], n.VERSION: found[0][1]}
    ranges: dict[str, tuple[int, int]] = {}
    for stream, version in found:
        _widen(ranges, stream, version)
    return {n.STREAMS: _named(ranges)}


def _widen(ranges: dict[str, tuple[int, int]], name: str, number: int) -> None:
    first, last = ranges.get(name, (number, number))
    ranges[name] = (min(first, number), max(last, number))


def _named(ranges: dict[str, tuple[int, int]]) -> list[str]:
    named = [f"{name}@{first}-{last}" if last > first else f"{name}@{first}" for name, (first, last) in ranges.items()]
    return named if len(named) <= MOST else [*named[: MOST - 1], f"and {len(named) - MOST + 1} more"]
