# SPDX-License-Identifier: Apache-2.0
"""W3C trace context over HTTP, Kafka headers and Redis entries, and spans that cost nothing while their trace is not recorded."""

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import NamedTuple, Protocol

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from nerv.errors import Refused
from nerv.telemetry import names as n
from nerv.telemetry.sampling import Sampling
from nerv.types import Event

_PROPAGATOR = TraceContextTextMapPropagator()
_USUAL = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")  # a traceparent as nearly all are
_EMPTY = Context()
_sampling: Sampling | None = None
_start: "Start"  # is there before `_sampling` is

_NONE, _OUTSIDE = "", "-"
# None in work that is recorded. Else the traceparent that it came with, _NONE where it came with none, or is not to be recorded,
# and _OUTSIDE in work that may begin a trace. Whether it is recorded is asked of this alone: OpenTelemetry takes a microsecond.
_passing: ContextVar[str | None] = ContextVar("nerv_passing", default=_OUTSIDE)
# In work on a batch: the traces beside that of the current span, which the spans of the work are linked to.
_beside: ContextVar[Sequence[Link]] = ContextVar("nerv_beside", default=())


class Carrier(NamedTuple):
    """Trace context as it travels. Both None when there is none."""

    traceparent: str | None = None
    tracestate: str | None = None


NOWHERE = Carrier()


class Start(Protocol):
    """Begins a span that is recorded."""

    def __call__(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue] | None,
        links: Sequence[Link],
    ) -> Span:
        """In this context, or in the current one; in none of a span it is the first of a trace."""
        ...


def turn_on(sampling: Sampling, start: Start) -> None:
    """Record spans from now on. `setup.telemetry` does it."""
    global _start
    _start = start
    sample(sampling)


def sample(sampling: Sampling | None) -> None:
    """From now on record this share of the traces; None turns tracing off."""
    global _sampling
    _sampling = sampling


def enabled() -> bool:
    """Whether any spans are recorded at all."""
    return _sampling is not None


def recording() -> bool:
    """Whether a span of what is being done would be recorded."""
    return _sampling is not None and _passing.get() is None


def recorded(traceparent: str) -> bool:
    """Whether spans are recorded in the trace of a message that came with this."""
    return _sampling is not None and _sampling.goes_on(traceparent)


def carrier() -> Carrier:
    """The context of the current span, to be put on a message; empty where its trace is not recorded."""
    if _sampling is None or _passing.get() is not None:
        return NOWHERE
    return carrier_of(trace.get_current_span())


def carrier_of(found: Span) -> Carrier:
    """The context of a span that is recorded."""
    at = found.get_span_context()
    if not at.is_valid:
        return NOWHERE
    # What the propagator writes, which makes a dictionary and looks the span up again for it.
    traceparent = f"00-{at.trace_id.to_bytes(16).hex()}-{at.span_id.to_bytes(8).hex()}-{at.trace_flags:02x}"
    return Carrier(traceparent, at.trace_state.to_header() if at.trace_state else None)


def hop() -> Carrier:
    """As `carrier`, for a request, whose answerer would begin a trace: it also says that what is done here is not recorded."""
    if _sampling is None:
        return Carrier()
    passing = _passing.get()
    if passing is None:
        return carrier()
    known = passing if passing not in (_NONE, _OUTSIDE) else None
    return Carrier(known or f"00-{random.getrandbits(128) or 1:032x}-{random.getrandbits(64) or 1:016x}-00")


def marked(events: Sequence[Event[bytes]]) -> Sequence[Event[bytes]]:
    """These events in the trace of the current span, if it is recorded. Where any of them has a trace of its own, as they are."""
    context = carrier()
    if context.traceparent is None or any(event.traceparent is not None for event in events):
        return events
    return [event.traced(*context) for event in events]


def current_ids() -> tuple[str, str | None] | None:
    """Trace id and span id of what is being done, for a log line; of a trace that is not recorded the id that it came with."""
    passing = _passing.get()
    if passing is not None:
        return (passing[3:35], None) if passing not in (_NONE, _OUTSIDE) else None
    found = trace.get_current_span().get_span_context()
    return (f"{found.trace_id:032x}", f"{found.span_id:016x}") if found.is_valid else None


class _Passing:
    """A block of a trace that is not recorded."""

    __slots__ = ("_token", "_traceparent")
    _token: Token[str | None]

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent

    def __enter__(self) -> Span:
        self._token = _passing.set(self._traceparent)
        return INVALID_SPAN

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _passing.reset(self._token)


_NOTHING: AbstractContextManager[Span] = nullcontext(INVALID_SPAN)


def unsampled() -> AbstractContextManager[Span]:
    """What is done in the block, and whatever it leads to in any service, makes no spans."""
    return _NOTHING if _sampling is None else _Passing(_NONE)


def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: Carrier | None = None,
    begin: bool = False,
    links: Iterable[Carrier] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
) -> AbstractContextManager[Span]:
    """A span around a block, where its trace is recorded. It begins at once, so that the block is to be entered at once, too.

    `parent` None continues the current one; where there is none nothing is recorded, unless it may `begin` a trace. An empty
    Carrier begins a trace. An exception marks the span with its class and goes on.
    A refusal does not make it a failed one.
    """
    if _sampling is None:
        return _NOTHING
    context = None
    if parent is None and not recording():
        if not begin or _passing.get() != _OUTSIDE:
            return _NOTHING
        parent = NOWHERE
    if parent is not None:
        traceparent = parent.traceparent
        if not (_sampling.begins() if traceparent is None else _sampling.goes_on(traceparent)):
            return _Passing(traceparent or _NONE)
        context = _context(parent)
    linked = [link_to(link) for link in links if link.traceparent]
    return _recorded(name, kind, context, linked, attributes)


def arriving(headers: Sequence[tuple[bytes, bytes]], *, begin: bool) -> Carrier | None:
    """The context that a request came with by its headers (ASGI), an empty one where it may `begin` a trace that is recorded;
    None of most requests, which are in no trace at all: nothing is done for those, and work in them that may begin a trace of its
    own decides for itself.
    """
    if _sampling is None:
        return None
    for name, value in headers:  # the first one counts, where there are several
        if name == b"traceparent":
            state = dict(reversed(headers)).get(b"tracestate")
            return Carrier(value.decode("latin-1"), None if state is None else state.decode("latin-1"))
    return NOWHERE if begin and _sampling.begins() else None


def span_of_request(name: str, came: Carrier, attributes: Mapping[str, AttributeValue]) -> AbstractContextManager[Span]:
    """The span around the answer to a request that came with this (`arriving`)."""
    if came.traceparent is not None and not recorded(came.traceparent):
        return _Passing(came.traceparent)
    return _recorded(name, SpanKind.SERVER, _context(came), (), attributes)


def _recorded(
    name: str,
    kind: SpanKind,
    context: Context | None,
    linked: Sequence[Link],
    attributes: Mapping[str, AttributeValue] | None,
) -> "_Recorded":
    linked = linked if context is not None else [*linked, *_beside.get()]
    return _Recorded(_start(name, context, kind, attributes, linked))


def begun(
    name: str, kind: SpanKind, parent: Carrier, links: Sequence[Link], attributes: Mapping[str, AttributeValue]
) -> Span:
    """A span in a trace that is recorded. It is not the current one, and is ended by `together`."""
    return _start(name, _context(parent), kind, attributes, links)


def together(spans: Sequence[Span]) -> AbstractContextManager[Span]:
    """A block in which the last of these (one, or more) is the current one. All end with it, as one of `span` does."""
    *others, last = spans
    return _Recorded(last, others)


class _Recorded:
    """A block of traces that are recorded. What `start_as_current_span` does, without three generators for each span."""

    __slots__ = ("_attached", "_others", "_span", "_token")
    _attached: Token[Context]
    _token: Token[str | None]

    def __init__(self, current: Span, others: Sequence[Span] = ()) -> None:
        self._span, self._others = current, others

    def __enter__(self) -> Span:
        self._token = _passing.set(None)
        self._attached = otel_context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spans = (self._span, *self._others)
        try:
            if error is not None:
                for one in spans:
                    one.set_attribute(n.ERROR_TYPE, type(error).__name__)
                if not isinstance(error, Refused):  # which is an answer, as a view that is not there
                    status = Status(StatusCode.ERROR, str(error))
                    for one in spans:
                        one.set_status(status)
        finally:
            otel_context.detach(self._attached)
            _passing.reset(self._token)
            for one in spans:
                one.end()


@contextmanager
def beside(links: Sequence[Link]) -> Iterator[None]:
    """Spans of the block are linked to these, too."""
    token = _beside.set(links)
    try:
        yield
    finally:
        _beside.reset(token)


def link_to(found: Carrier) -> Link:
    """A link to the span that a message was sent by."""
    return Link(_from(found))


def _context(parent: Carrier) -> Context:
    if parent.traceparent is None:
        return _EMPTY
    return trace.set_span_in_context(NonRecordingSpan(_from(parent)), _EMPTY)


def _from(found: Carrier) -> SpanContext:
    """The span that a message was sent by, an invalid one where that cannot be read."""
    traceparent, tracestate = found
    if not tracestate and traceparent and (usual := _USUAL.fullmatch(traceparent)):
        trace_id, span_id, flags = (int(part, 16) for part in usual.groups())
        at = SpanContext(trace_id, span_id, True, TraceFlags(flags))
        if at.is_valid:
            return at
    fields = {"traceparent": traceparent or "", "tracestate": tracestate or ""}
    return trace.get_current_span(_PROPAGATOR.extract(fields, _EMPTY)).get_span_context()
