# SPDX-License-Identifier: Apache-2.0
"""Records on their way into Kafka, out of it, and what became of them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from nerv.errors import NervError

BY_KEY = -1


class Outgoing(NamedTuple):
    """A record to produce. `partition` BY_KEY leaves the choice to the key (murmur2, as Java does)."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int = BY_KEY


class Position(NamedTuple):
    """Where a record stands. A tuple, for one is made for every record that is produced."""

    topic: str
    partition: int
    offset: int


Delivery = Position | NervError
"""What became of one record: it stands somewhere, it was refused, or nobody knows (UnknownOutcome)."""


class Received(Protocol):
    """A record as confluent-kafka hands it over; its accessors are native and cheap."""

    def topic(self) -> str:
        """The topic it stands in."""
        ...

    def partition(self) -> int:
        """Its partition."""
        ...

    def offset(self) -> int:
        """Its place in the partition."""
        ...

    def key(self) -> bytes | None:
        """Its key; None where it has none."""
        ...

    def value(self) -> bytes | None:
        """What it carries; None is a tombstone."""
        ...

    def headers(self) -> list[tuple[str, bytes]] | None:
        """Its headers in order, or None where it has none."""
        ...

    def timestamp(self) -> tuple[int, int]:
        """What the time stamp means (confluent_kafka.TIMESTAMP_*), and milliseconds since 1970."""
        ...
