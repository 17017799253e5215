# SPDX-License-Identifier: Apache-2.0
"""What a bus is told and what it tells, as data."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import translate
from functools import lru_cache
from typing import Any, TypeAlias

from nerv.types import Event

Predicate: TypeAlias = Callable[[Event[Any]], bool]
Selector: TypeAlias = str | Predicate
"""An event type; a pattern of types (`flight.*`, as in a shell); or a function of the event."""

Handler: TypeAlias = Callable[[Any], Awaitable[None] | None]
"""Takes an event, or a list of them where it was subscribed with `batch`."""


@dataclass(frozen=True, slots=True)
class Delay:
    """A middleware's answer: this event goes on with the rest of the chain after `seconds`."""

    event: Event[Any]
    seconds: float


@dataclass(frozen=True, slots=True)
class Routed:
    """A middleware's answer: this event goes to that topic instead. A bus has no topics: there it goes on."""

    event: Event[Any]
    topic: str


Middleware: TypeAlias = Callable[[Event[Any]], Event[Any] | Delay | Routed | None]
"""Pure: gives the event, another one in its place, a Delay, a topic for it, or None to drop it."""


class Overflow(StrEnum):
    """What happens to an event for which a lane has no room."""

    WAIT = "wait"  # `publish` waits for room; `send`, which cannot wait, refuses
    REFUSE = "refuse"  # nobody gets the event, and the sender gets Overloaded
    DROP_NEWEST = "drop-newest"
    DROP_OLDEST = "drop-oldest"


@dataclass(frozen=True, slots=True)
class Lanes:
    """How a subscriber is fed through queues: events of one key in order, keys of different lanes in parallel.

    `capacity` is events a lane; up to `batch` of them reach the handler as one list (None: one by one). `key` is by
    default the event's partition key, else its subject, else its id.
    """

    count: int = 1
    capacity: int = 1000
    overflow: Overflow = Overflow.WAIT
    batch: int | None = None
    key: Callable[[Event[Any]], str] | None = None


@dataclass(frozen=True, slots=True)
class SubscriberFailed:
    """Data of `nerv.bus.subscriber-failed.v1`: who failed, on which events, and how.

    `error` is the error's type and text. The error itself would hold the frames it came through, and so the subscriber.
    """

    subscriber: str
    events: Sequence[Event[Any]]
    error: str
    traceback: str


def is_pattern(selector: str) -> bool:
    """Whether a selector names many types."""
    return any(mark in selector for mark in "*?[")


@lru_cache(maxsize=1024)
def pattern(selector: str) -> re.Pattern[str]:
    """The compiled form of a shell pattern."""
    return re.compile(translate(selector))


def selects(selector: Selector | None, event: Event[Any]) -> bool:
    """Whether a selector means this event; None means all."""
    if selector is None:
        return True
    if isinstance(selector, str):
        return selector == event.type or (is_pattern(selector) and pattern(selector).match(event.type) is not None)
    return selector(event)
