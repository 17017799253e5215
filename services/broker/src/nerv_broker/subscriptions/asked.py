# SPDX-License-Identifier: Apache-2.0
"""What a subscriber asks for, from the address and headers of the request."""

from dataclasses import dataclass, field
from typing import Any

from nerv.service import Request
from nerv.service.query import patterns, positive, refuse_unknown
from nerv_broker.subscriptions.choosing import Wanted
from nerv_broker.subscriptions.pacing import Pace
from nerv_broker.subscriptions.positions import Edge, Place, parse_place

FASTEST = 1_000_000.0  # events a second, or times as fast as they happened
WORDS = frozenset({"from", "to", "types", "subjects", "where", "rate", "speed"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A subscription: from where, up to where (None: for ever), which events, how fast."""

    start: Place
    until: Place | None = None
    wanted: Wanted = field(default=Wanted())
    pace: Pace = field(default=Pace())


def asked(request: Request[Any], partitions: int) -> Asked:
    """What the request asks for. Raises Invalid or TooLarge."""
    refuse_unknown(request, WORDS)
    again = request.header("last-event-id")
    until = request.query("to")
    return Asked(
        parse_place(again or request.query("from") or Edge.LATEST, partitions, "from"),
        None if until is None else parse_place(until, partitions, "to"),
        Wanted(patterns(request, "types"), patterns(request, "subjects"), request.query("where")),
        Pace(positive(request, "rate", FASTEST), positive(request, "speed", FASTEST)),
    )
