# SPDX-License-Identifier: Apache-2.0
"""What was declared beside what was seen."""

from collections.abc import Iterable
from dataclasses import replace

from nerv.topology.ways import Difference, Way, order

# What these do is chosen event by event, by code: no registry can say where it leads.
FREE = ("reaction:", "service:scheduler")


def compare(declared: Iterable[Way], seen: Iterable[Way]) -> list[Way]:
    """Both in one, each way with how it differs; what cannot be declared differs from nothing."""
    known = {way.ends: way for way in declared}
    found = {way.ends: way for way in seen}
    ways = [_seen(way, found.get(way.ends)) for way in known.values()]
    return sorted([*ways, *(_undeclared(way) for ends, way in found.items() if ends not in known)], key=order)


def _seen(way: Way, found: Way | None) -> Way:
    if found is not None:
        return replace(way, count=found.count, rate=found.rate, last=found.last)
    return way if way.always else replace(way, differs=Difference.UNSEEN)


def _undeclared(way: Way) -> Way:
    return way if way.source.startswith(FREE) else replace(way, differs=Difference.UNDECLARED)
