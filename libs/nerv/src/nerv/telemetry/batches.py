# SPDX-License-Identifier: Apache-2.0
"""Spans of work on a batch, in the traces of its messages; those whose trace is not recorded cost a look at one field each."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.util.types import AttributeValue

from nerv.telemetry import names as n
from nerv.telemetry.touched import places, streams
from nerv.telemetry.tracing import (
    Carrier,
    begun,
    beside,
    carrier_of,
    enabled,
    link_to,
    recorded,
    span,
    together,
    unsampled,
)

# Of the traces in a batch so many have a span of their own, and so many more are linked to the first of these: a span costs what
# ten events cost that are folded. A replica that catches up would do little else, so that it takes so many traces a second, and
# does not even look at batches beyond that.
OWN = 8
LINKED = 24
A_SECOND = 100.0
AT_ONCE = 200.0
# What is read again long after it was written, by a rebuild, is no part of its trace any more.
RECENT_MS = 3_600_000


class Traced(Protocol):
    """What carries the trace context of the hop that it came by."""

    @property
    def traceparent(self) -> str | None:
        """W3C."""
        ...

    @property
    def tracestate(self) -> str | None:
        """W3C."""
        ...


class InHistory(Traced, Protocol):
    """An event, which may be one of history."""

    @property
    def subject(self) -> str | None:
        """Its stream."""
        ...

    @property
    def sequence(self) -> int | None:
        """Its version."""
        ...


class Record(Protocol):
    """A record of Kafka that was read."""

    def topic(self) -> str:
        """Its topic."""
        ...

    def partition(self) -> int:
        """Its partition."""
        ...

    def offset(self) -> int:
        """Its offset."""
        ...

    def timestamp(self) -> tuple[int, int]:
        """Kind, and milliseconds since 1970."""
        ...


Source = tuple[InHistory, Record]
"""An event, and the record that it came in."""


class Budget:
    """So many a second, and so many at once after a while without any."""

    def __init__(self, a_second: float, at_once: float) -> None:
        self._a_second, self._at_once = a_second, at_once
        self._left, self._looked = at_once, time.monotonic()

    def left(self) -> int:
        """How many there may be now."""
        now = time.monotonic()
        self._left = min(self._at_once, self._left + (now - self._looked) * self._a_second)
        self._looked = now
        return int(self._left)

    def spend(self, count: int) -> None:
        """So many were taken."""
        self._left -= count


_budget = Budget(A_SECOND, AT_ONCE)


def traced(events: Iterable[Traced]) -> list[Carrier]:
    """The distinct contexts of these that are recorded, as many as a batch's span is linked to."""
    if not enabled():
        return []
    found: dict[Carrier, None] = {}
    for event in events:
        traceparent = event.traceparent
        if traceparent is not None and recorded(traceparent) and len(found) <= LINKED:
            found[Carrier(traceparent, event.tracestate)] = None
    return list(found)


def span_of_all(
    name: str, kind: SpanKind, contexts: Sequence[Carrier], attributes: Mapping[str, AttributeValue]
) -> AbstractContextManager[Span]:
    """A span of work on what came in these contexts: the child of the first, linked to the others, as the spans of the block are.

    Without any the block makes no spans: its trace, if there is one, is not recorded.
    """
    if not contexts:
        return unsampled()
    return _linked(name, kind, contexts, attributes)


@contextmanager
def _linked(
    name: str, kind: SpanKind, contexts: Sequence[Carrier], attributes: Mapping[str, AttributeValue]
) -> Iterator[Span]:
    first, *others = contexts
    with (
        span(name, kind, parent=first, links=others, attributes=attributes) as current,
        beside([link_to(one) for one in others]),
    ):
        yield current


@contextmanager
def process_spans(
    topic: str, group: str, sources: Iterable[Source], attributes: Mapping[str, AttributeValue] | None = None
) -> Iterator[dict[Carrier, Carrier]]:
    """A `process` span in each recorded trace of a batch; answers the context to pass on for each that has one of its own.

    Spans of the block are in the last of these traces, and linked to the others; without any it makes none.
    """
    found, left_out = _by_trace(sources)
    if not found:
        with unsampled():
            yield {}
        return
    contexts = list(found)
    own, links = contexts[:OWN], [link_to(one) for one in contexts[OWN:]]
    told: dict[str, AttributeValue] = {
        n.SYSTEM: n.KAFKA,
        n.OPERATION_NAME: "process",
        n.OPERATION_TYPE: "process",
        n.DESTINATION: topic,
        n.GROUP: group,
    }
    more = dict(attributes or {})
    each = [told | {n.BATCH_COUNT: len(found[one])} | _touched(found[one]) | more for one in own]
    if left_out:
        each[0][n.LEFT_OUT] = left_out
    name, kind = n.process(topic), SpanKind.CONSUMER
    spans = [
        begun(name, kind, one, links if one is own[0] else (), named) for one, named in zip(own, each, strict=True)
    ]
    passed = {one: carrier_of(made) for one, made in zip(own, spans, strict=True)}
    with together(spans), beside([*links, *(Link(made.get_span_context()) for made in spans[:-1])]):
        yield passed


def _by_trace(sources: Iterable[Source]) -> tuple[dict[Carrier, list[Source]], int]:
    """What is recorded by its context, and how many messages are of others, which are too many."""
    found: dict[Carrier, list[Source]] = {}
    room = OWN + LINKED
    if not enabled() or _budget.left() < room:
        return found, 0
    oldest, left_out = time.time() * 1000 - RECENT_MS, 0
    for source in sources:
        event, record = source
        traceparent = event.traceparent
        if traceparent is None or not recorded(traceparent) or 0 <= record.timestamp()[1] < oldest:
            continue
        context = Carrier(traceparent, event.tracestate)
        if context in found:
            found[context].append(source)
        elif len(found) < room:
            found[context] = [source]
        else:
            left_out += 1
    _budget.spend(len(found))
    return found, left_out


def _touched(sources: Sequence[Source]) -> dict[str, AttributeValue]:
    records = (record for _, record in sources)
    events = ((event.subject, event.sequence) for event, _ in sources)
    return places([(r.topic(), r.partition(), r.offset()) for r in records]) | streams(
        [(stream, version) for stream, version in events if stream is not None and version is not None]
    )
