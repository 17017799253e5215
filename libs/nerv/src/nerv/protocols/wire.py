# SPDX-License-Identifier: Apache-2.0
"""The wire port: what a bridge of the event bus leads to."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from nerv.types import Description, Event


class Place(NamedTuple):
    """Where an event stands: numbers of one source rise from event to event, and a repeat has the same one."""

    source: str
    number: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event that came over a wire; `origin` is the wire's own hold on it, `place` is where it stands, if that is fixed."""

    event: Event[bytes]
    origin: Any
    place: Place | None = None


class Wire(Protocol):
    """A topic or a stream. At least once both ways: who hears may hear twice, and can tell by the event's id.

    Implemented on Kafka and on Redis by `nerv.bus`. Errors: Unavailable or Overloaded (nothing happened), UnknownOutcome
    (send the same events again), Refused (never will).
    """

    name: str  # such as topic:shop.order.v1

    async def put(self, events: Sequence[Event[bytes]], places: Sequence[Place] | None = None) -> None:
        """Send events, in order for each key; returns once they are kept. After an error a part of them may be.

        `places` says where each stands that comes from elsewhere: a wire that can remember passes over what it has had.
        """
        ...

    def take(self) -> AsyncIterator[Sequence[Arrived]]:
        """Batches as they come. Asking for the next one says that all of the last one is done with.

        What cannot be read as an event is put aside by the wire itself.
        """
        ...

    async def refuse(self, arrived: Arrived, cause: str) -> None:
        """Put one event aside, with the cause, where people can look at it; returns once it is kept there."""
        ...

    async def lag(self) -> int:
        """Events that wait to be taken. Raises Unavailable."""
        ...

    def describe(self) -> Description:
        """What it leads to, and how many events were put, taken and refused."""
        ...
