# SPDX-License-Identifier: Apache-2.0
"""W3C trace context over HTTP, Kafka headers and Redis entries, and spans that cost nothing while tracing is off."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

_PROPAGATOR = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("nerv")
_on = False

# A batch carries links, not parents; beyond this many contexts a batch's span says how many it left out.
MAX_CONTEXTS = 64


class Carrier(NamedTuple):
    """Trace context as it travels. Both None when there is none."""

    traceparent: str | None = None
    tracestate: str | None = None


def turn_on(on: bool) -> None:
    """Set by `setup.telemetry`."""
    global _on
    _on = on


def enabled() -> bool:
    """Whether spans are recorded at all."""
    return _on


def carrier() -> Carrier:
    """The context of the current span, to be put on an outgoing message."""
    if not _on:
        return Carrier()
    fields: dict[str, str] = {}
    _PROPAGATOR.inject(fields)
    return Carrier(fields.get("traceparent"), fields.get("tracestate"))


def _context(parent: Carrier) -> otel_context.Context:
    fields = {"traceparent": parent.traceparent or ""}
    if parent.tracestate:
        fields["tracestate"] = parent.tracestate
    return _PROPAGATOR.extract(fields, otel_context.Context())


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: Carrier | None = None,
    links: Iterable[Carrier] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Iterator[Span]:
    """A span around a block. `parent` None continues the current one; an empty Carrier begins a trace.

    An exception marks the span with its class and goes on.
    """
    if not _on:
        yield trace.INVALID_SPAN
        return
    context = None if parent is None else _context(parent)
    linked = [Link(_span_context(link)) for link in links if link.traceparent]
    with _tracer.start_as_current_span(
        name, context, kind, attributes, linked, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(Status(StatusCode.ERROR, str(error)))
            raise


def _span_context(link: Carrier) -> trace.SpanContext:
    return trace.get_current_span(_context(link)).get_span_context()


def contexts_of(carriers: Iterable[Carrier]) -> list[tuple[Carrier, int]]:
    """The distinct contexts of a batch's messages and how many messages each has, at most MAX_CONTEXTS of them.

    Work on a batch makes one span for each, so that every trace shows the work without a span for each message.
    """
    if not _on:
        return []
    counts: dict[Carrier, int] = {}
    for found in carriers:
        if found.traceparent is not None and (found in counts or len(counts) < MAX_CONTEXTS):
            counts[found] = counts.get(found, 0) + 1
    return list(counts.items())
