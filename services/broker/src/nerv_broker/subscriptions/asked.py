# SPDX-License-Identifier: Apache-2.0
"""What a subscriber asks for, from the address and headers of the request."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nerv.service import Request
from nerv.service.params import LAST_EVENT_ID, choice, patterns, positive, text
from nerv_broker.subscriptions.choosing import LONGEST, Wanted
from nerv_broker.subscriptions.pacing import Pace
from nerv_broker.subscriptions.positions import Edge, Place, parse_place


class Form(StrEnum):
    """What is sent of a record."""

    EVENT = "event"
    RECORD = "record"


FASTEST = 1_000_000.0  # events a second, or times as fast as they happened
PLACE = {"type": "string", "examples": ["earliest", "latest", "0:42,1:17", "0:42,*", "2013-01-15T12:00:00Z"]}

FROM = text(
    "from",
    "earliest, latest (where it is left out), an instant, or positions: of these partitions alone, or, ending with *, of all "
    "others from their beginning.",
    PLACE,
)
TO = text(
    "to", "Where to end, said as `from` is: latest is the end as it is now. Without it the stream has no end.", PLACE
)
TYPES = patterns("types", "Only events of these types.")
SUBJECTS = patterns("subjects", "Only events about these.")
WHERE = text(
    "where", "Only events whose data this JMESPath expression finds true.", {"type": "string", "maxLength": LONGEST}
)
RATE = positive("rate", "At most so many events a second.", high=FASTEST)
SPEED = positive("speed", "So many times as fast as the events happened.", high=FASTEST)
AS = choice("as", Form.EVENT, "CloudEvents, or records with key, value and headers in base64, as they stand in Kafka.")
WORDS = (FROM, TO, TYPES, SUBJECTS, WHERE, RATE, SPEED, AS, LAST_EVENT_ID)


@dataclass(frozen=True, slots=True)
class Asked:
    """A subscription: from where, up to where (None: for ever), which events, how fast."""

    start: Place
    until: Place | None = None
    wanted: Wanted = field(default=Wanted())
    pace: Pace = field(default=Pace())
    form: Form = Form.EVENT


def asked(request: Request[Any], partitions: int) -> Asked:
    """What the request asks for. Raises Invalid or TooLarge."""
    again, until = request.get(LAST_EVENT_ID), request.get(TO)
    return Asked(
        parse_place(again or request.get(FROM) or Edge.LATEST, partitions, "from"),
        None if until is None else parse_place(until, partitions, "to"),
        Wanted(request.get(TYPES), request.get(SUBJECTS), request.get(WHERE)),
        Pace(request.get(RATE), request.get(SPEED)),
        request.get(AS),
    )
