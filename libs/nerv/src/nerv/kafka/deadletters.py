# SPDX-License-Identifier: Apache-2.0
"""The record of what could not be processed (rule 15): the original bytes, and why, where from, by whom as headers.

One format for all who write it: the projector, the reactions and groups of the broker, temporal, wires of the event bus.
Key and headers stay, so that the letters of a key stand in one partition, and each can be processed again as it was.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from nerv.cloudevents import to_headers
from nerv.errors import Invalid
from nerv.kafka.records import Outgoing, Received
from nerv.telemetry import counter
from nerv.telemetry import names as n
from nerv.types import Event

CAUSE: Final = "nerv_deadletter_cause"
ORIGIN: Final = "nerv_deadletter_origin"  # <topic>/<partition>/<offset>, or door:<topic>
ATTEMPT: Final = "nerv_deadletter_attempt"
BY: Final = "nerv_deadletter_by"  # the subscriber: a projection, a reaction, a group
TIME: Final = "nerv_deadletter_time"  # of the original record, ms: the event's time where a bare client wrote none
EDITED: Final = "nerv_deadletter_edited"  # <partition>:<offset> of the letter that this one is an edition of
OURS: Final = frozenset({CAUSE, ORIGIN, ATTEMPT, BY, TIME, EDITED})

_letters = counter(n.DEADLETTERS)

LONGEST_CAUSE = 4000  # characters

DOOR: Final = "door:"  # and a topic: who wrote a letter about an event that never came into the topic
NOWHERE: Final = -1  # where a letter of a door stands is known once it is written

Headers = list[tuple[str, bytes]]


class Origin(NamedTuple):
    """Where a record stands in the topic that it came from; its text is `topic/partition/offset`.

    An event that was refused at the door stands in no topic: its origin is `door:<topic>`, and where its letter stands
    among the dead letters, in the first edition.
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return self.topic if self.offset == NOWHERE else f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def at_door(self) -> bool:
        """Whether the record never came into its topic."""
        return self.topic.startswith(DOOR)

    @property
    def of_topic(self) -> str:
        """The topic that it came from, or was meant for."""
        return self.topic.removeprefix(DOOR)

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Raises Invalid."""
        topic, _, rest = text.partition("/")
        partition, _, offset = rest.partition("/")
        if not (topic and _number(partition) and _number(offset)):
            raise Invalid(f"{text[:300]!r} is no origin; one is topic/partition/offset")
        return cls(topic, int(partition), int(offset))


class Place(NamedTuple):
    """Where a letter stands among the dead letters; its text, `partition:offset`, is the letter's id."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Raises Invalid."""
        partition, _, offset = text.partition(":")
        if not (_number(partition) and _number(offset)):
            raise Invalid(f"{text[:60]!r} is no dead letter; one is partition:offset, such as 0:42")
        return cls(int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be processed, as it was, and what is known of its end."""

    origin: Origin
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    cause: str
    by: str
    attempt: int = 1
    edited: Place | None = None

    def outgoing(self, topic: str) -> Outgoing:
        """The record of this letter, for the topic of dead letters."""
        about = [
            (CAUSE, self.cause[:LONGEST_CAUSE].encode("utf-8", "replace")),
            (ORIGIN, str(self.origin).encode()),
            (ATTEMPT, str(self.attempt).encode()),
            (BY, self.by.encode()),
            (TIME, str(self.timestamp_ms).encode()),
        ]
        if self.edited is not None:
            about.append((EDITED, str(self.edited).encode()))
        return Outgoing(topic, self.value, self.key, [*self.headers, *about])


def count_letters(topic: str, by: str, count: int = 1) -> None:
    """So many letters about records of a topic were written by a subscriber; 0 shows it before there is one."""
    _letters.add(count, {n.DESTINATION: topic, n.BY: by})


def where(record: Received) -> str:
    """`topic/partition/offset`."""
    return f"{record.topic()}/{record.partition()}/{record.offset()}"


def origin_of(record: Received) -> Origin:
    """Where a record stands."""
    return Origin(record.topic(), record.partition(), record.offset())


def letter_of(record: Received, cause: str, by: str, *, attempt: int = 1) -> DeadLetter:
    """The letter about a record. What an earlier letter said is left out, should somebody have sent that back whole."""
    headers = [(name, value) for name, value in record.headers() or [] if name not in OURS]
    return DeadLetter(
        origin_of(record), record.key(), record.value(), headers, record.timestamp()[1], cause, by, attempt
    )


def door_letter(topic: str, event: Event[bytes], key: bytes | None, cause: str) -> DeadLetter:
    """The letter about an event that does not fit `topic`, as it was sent."""
    by, time = f"{DOOR}{topic}", int(event.time.timestamp() * 1000)
    return DeadLetter(Origin(by, NOWHERE, NOWHERE), key, event.data, to_headers(event), time, cause, by)


def dead_letter(topic: str, record: Received, cause: str, by: str, *, attempt: int = 1) -> Outgoing:
    """The dead letter of a record, for the topic of dead letters."""
    return letter_of(record, cause, by, attempt=attempt).outgoing(topic)


def read_letter(record: Received) -> DeadLetter:
    """The letter in a record of the topic of dead letters. Raises Invalid for what is none."""
    about = {name: value.decode("utf-8", "replace") for name, value in record.headers() or [] if name in OURS and value}
    attempt, time = about.get(ATTEMPT, "1"), about.get(TIME, "")
    if ORIGIN not in about or not _number(attempt):
        raise Invalid(f"record {where(record)} is no dead letter: it lacks a good {ORIGIN} or {ATTEMPT}")
    return DeadLetter(
        _origin(about[ORIGIN], record),
        record.key(),
        record.value(),
        [(name, value) for name, value in record.headers() or [] if name not in OURS],
        int(time) if _number(time) else record.timestamp()[1],
        about.get(CAUSE, ""),
        about.get(BY, ""),
        int(attempt),
        Place.parse(about[EDITED]) if EDITED in about else None,
    )


def _origin(text: str, record: Received) -> Origin:
    if text.startswith(DOOR) and "/" not in text:  # a first edition
        return Origin(text, record.partition(), record.offset())
    return Origin.parse(text)


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19
