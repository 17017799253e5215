# SPDX-License-Identifier: Apache-2.0
"""Spans of the SDK that are made at a third of the cost, for those of our own (ADR 19 has the figures).

The SDK's tracer asks a sampler, and its `Span` has a lock, a bounded dictionary for attributes, and bounded lists for events and
links. The few plain attributes that this library names need none of that. All else that is done with such a span by
OpenTelemetry's API is done by the SDK's code, within the limits of the environment.
Source: opentelemetry-sdk 1.45, whose protected fields are used here: the pin is narrow for them.
"""

import threading
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

_PLAIN = frozenset({bool, int, float, str})
_UNSET = Status(StatusCode.UNSET)
_RANDOM = TraceFlags.RANDOM_TRACE_ID
_FLAGS = {bit: TraceFlags(TraceFlags.SAMPLED | bit) for bit in (0, _RANDOM)}


class QuickSpans:
    """Starts spans that go to a provider's processors, with its resource. All of them are recorded. Safe on any thread."""

    def __init__(self, provider: sdk.TracerProvider, name: str) -> None:
        self._scope = InstrumentationScope(name, "")
        self._limits = sdk.SpanLimits()
        # Of the public fields of the SDK's tracer: also who adds a processor later is told of these spans.
        tracer = provider.get_tracer(name)
        assert isinstance(tracer, sdk.Tracer)  # noqa: S101 - OTEL_SDK_DISABLED is looked at before
        self._resource, self._processor, self._ids = tracer.resource, tracer.span_processor, tracer.id_generator

    def __call__(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue] | None,
        links: Sequence[Link],
    ) -> "QuickSpan":
        """A span that has begun. `context` None is the current one."""
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is not None and parent.is_valid:
            trace_id, state = parent.trace_id, parent.trace_state
            flags = _FLAGS[parent.trace_flags & _RANDOM]
        else:
            parent, state, trace_id = None, None, self._ids.generate_trace_id()
            flags = _FLAGS[_RANDOM if self._ids.is_trace_id_random() else 0]
        made = SpanContext(trace_id, self._ids.generate_span_id(), False, flags, state)
        return QuickSpan(
            name, made, parent, kind, attributes or {}, links,
            self._limits, self._resource, self._processor, self._scope, context,
        )  # fmt: skip


class QuickSpan(sdk.Span):
    """Its attributes are a plain dictionary, and it has no lists of its own, until somebody needs more."""

    # One for all: only the SDK's own ways take it, in which a user's `__str__` may need another span.
    _lock = threading.RLock()  # type: ignore[assignment]
    _record_end_metrics = _sampler = _trace_config = _instrumentation_info = None
    _record_exception = _set_status_on_exception = False
    # Until there is more of it.
    _status = _UNSET
    _end_time: int | None = None
    _events: Sequence[Any] = ()
    _links: Any = ()

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue],
        links: Sequence[Link],
        limits: sdk.SpanLimits,
        resource: Resource,
        processor: sdk.SpanProcessor,
        scope: InstrumentationScope,
        at: Context | None,
    ) -> None:
        """It has begun. The SDK's own constructor is what is left out here."""
        # Whose fields are those of `ReadableSpan` and `Span`.
        self._name, self._context, self._parent, self._kind = name, context, parent, kind
        self._resource, self._instrumentation_scope = resource, scope
        self._limits, self._span_processor = limits, processor
        if links:
            most = limits.max_links
            valid = [link for link in links if link.context.is_valid]  # else it would lead to a trace that is none
            self._links = valid if most is None or len(valid) <= most else self._new_links(valid)
        self._attributes: Any = {}
        plain = limits.max_span_attribute_length is None and self._takes(attributes)
        self._attributes = dict(attributes) if plain else self._bounded(attributes)
        self._start_time = time_ns()
        processor.on_start(self, at)

    def set_attribute(self, key: str, value: Any) -> None:
        """As the SDK. What is no plain value, or one too many, is its matter."""
        if not self._put({key: value}):
            super().set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """As the SDK, too."""
        if not self._put(attributes):
            super().set_attributes(attributes)

    def end(self, end_time: int | None = None) -> None:
        """As the SDK, without the lock."""
        if self._end_time is not None:
            super().end(end_time)  # which says so
            return
        self._end_time = time_ns() if end_time is None else end_time
        self._span_processor._on_ending(self)
        self._span_processor.on_end(self._readable_span())

    def _put(self, more: Mapping[str, Any]) -> bool:
        """Whether these are attributes now; if not, the SDK can have its way with all that there are."""
        attributes = self._attributes
        if type(attributes) is not dict or self._end_time is not None:
            return False
        if not self._takes(more):
            self._bind(attributes)
            return False
        if not attributes.keys().isdisjoint(more):
            for name in more:
                attributes.pop(name, None)  # of two of a name the SDK takes the later for the younger one
        attributes.update(more)
        return self._attributes is attributes or self._put(more)

    def _bind(self, attributes: dict[str, Any]) -> None:
        with self._lock:
            if self._attributes is attributes:
                self._attributes = bound = self._bounded(dict(attributes))
                for name in attributes.keys() - bound.keys():  # of a thread that has put them there meanwhile
                    bound[name] = attributes[name]

    def _takes(self, more: Mapping[str, Any]) -> bool:
        most = self._limits.max_span_attributes
        if most is not None and len(self._attributes) + len(more) > most:
            return False
        for name, value in more.items():  # noqa: SIM110 - an `all` of these takes twice as long
            if type(value) not in _PLAIN or type(name) is not str or not name:
                return False
        return True

    def _bounded(self, attributes: Mapping[str, Any]) -> BoundedAttributes:
        limits = self._limits
        length = limits.max_span_attribute_length
        return BoundedAttributes(limits.max_span_attributes, attributes, immutable=False, max_value_len=length)

    def _add_event(self, event: Any) -> None:
        with self._lock:
            self._events = self._events or self._new_events()  # type: ignore[no-untyped-call]
        super()._add_event(event)

    def _add_link(self, link: Link) -> None:
        with self._lock:
            if isinstance(self._links, tuple | list):
                self._links = self._new_links(self._links)
        super()._add_link(link)
