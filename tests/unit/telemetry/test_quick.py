# SPDX-License-Identifier: Apache-2.0
"""Spans made quickly are the SDK's own in all that anybody can see of them."""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from nerv.telemetry.spans.quick import QuickSpan, QuickSpans

REMOTE = SpanContext(0xAF, 0xB7, True, TraceFlags(3), TraceState([("vendor", "x")]))
LIMITS: Sequence[Mapping[str, str]] = (
    {},
    {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "3", "OTEL_SPAN_LINK_COUNT_LIMIT": "1", "OTEL_SPAN_EVENT_COUNT_LIMIT": "1"},
    {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "2"},
)

scalars = st.one_of(st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(max_size=5))
values = st.one_of(
    scalars, st.lists(st.text(max_size=3), max_size=3), st.none(), st.binary(max_size=3), st.builds(object)
)
names = st.sampled_from(["a", "b", "c", "d", "", 7])
attributes = st.dictionaries(names, values, max_size=5)
Step = Callable[[Span], object]
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda name, value: lambda span: span.set_attribute(name, value), names, values),
    st.builds(lambda more: lambda span: span.set_attributes(more), attributes),
    st.builds(lambda more: lambda span: span.add_event("e", more, 1), st.dictionaries(st.sampled_from("ab"), scalars)),
    st.builds(lambda more: lambda span: span.add_link(REMOTE, more), st.dictionaries(st.sampled_from("ab"), scalars)),
    st.builds(lambda code: lambda span: span.set_status(code, "why"), st.sampled_from(StatusCode)),
    st.builds(lambda code: lambda span: span.set_status(Status(code)), st.sampled_from(StatusCode)),
    st.just(lambda span: span.update_name("other")),
    st.just(lambda span: span.record_exception(ValueError("no"), timestamp=1)),
    st.just(lambda span: span.end(7)),
    st.just(lambda span: _fail_in(span)),
)


def _fail_in(span: Span) -> None:
    """A block that ends with an error; the span ends, too."""
    with suppress(ValueError), span:
        raise ValueError("no")


def _put(**more: object) -> Step:
    return lambda span: [span.set_attribute(name, value) for name, value in more.items()]  # type: ignore[arg-type]


class Told(SpanProcessor):
    """What a processor is told."""

    def __init__(self) -> None:
        self.begun: list[object] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: otel_context.Context | None = None) -> None:
        """With the context that the span began in."""
        self.begun.append(parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """As it is then."""
        self.ended.append(span)


def seen(span: ReadableSpan) -> dict[str, Any]:
    """All but what differs from span to span."""
    assert span.context is not None
    return {
        "name": span.name,
        "kind": span.kind,
        "parent": span.parent,
        "flags": span.context.trace_flags,
        "state": span.context.trace_state,
        "remote": span.context.is_remote,
        "attributes": {name: repr(value).partition(" at ")[0] for name, value in (span.attributes or {}).items()},
        "events": [(event.name, dict(event.attributes or {}), event.timestamp) for event in span.events],
        "links": [(link.context, dict(link.attributes or {})) for link in span.links],
        "status": (span.status.status_code, span.status.description),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "resource": span.resource,
        "scope": span.instrumentation_scope,
    }


def both(told: Told) -> tuple[QuickSpans, trace.Tracer]:
    """Ours, and the SDK's, of one provider."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(told)
    return QuickSpans(provider, "nerv"), provider.get_tracer("nerv")


@pytest.mark.parametrize("limits", LIMITS)
@given(
    begun_with=st.one_of(st.dictionaries(st.sampled_from("abcd"), values), st.none()),
    links=st.lists(st.sampled_from([REMOTE, INVALID_SPAN_CONTEXT]), max_size=3),
    parent=st.sampled_from([None, otel_context.Context(), trace.set_span_in_context(NonRecordingSpan(REMOTE))]),
    done=st.lists(steps, max_size=6),
)
@example(begun_with={"a": 1, "b": 1}, links=[], parent=None, done=[_put(a=2), _put(c=1), _put(d=1)])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_they_are_what_the_sdk_makes(
    monkeypatch: pytest.MonkeyPatch,
    limits: Mapping[str, str],
    begun_with: Any,
    links: Sequence[SpanContext],
    parent: otel_context.Context | None,
    done: Sequence[Step],
) -> None:
    """After whatever is done to them, within the limits of the environment; and they go to an OTLP collector."""
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    told = Told()
    quick, tracer = both(told)
    ours = quick("n", parent, SpanKind.SERVER, begun_with, [Link(link) for link in links])
    theirs = tracer.start_span(
        "n", parent, SpanKind.SERVER, begun_with, [Link(link) for link in links],
        record_exception=False, set_status_on_exception=False,
    )  # fmt: skip
    assert told.begun == [parent, parent]
    for span in (ours, theirs):
        for step in done:
            step(span)
        assert span.is_recording() == (not told.ended or told.ended[-1].context != span.get_span_context())
        span.end()
    one, two = told.ended
    assert seen(one) == seen(two)
    assert one.start_time is not None
    assert one.end_time is not None
    assert (one.end_time == 7) == (two.end_time == 7)
    assert one.end_time >= one.start_time or one.end_time == 7
    assert type(one) is type(two)
    assert len(encode_spans([one]).resource_spans[0].scope_spans[0].spans) == 1


def test_one_within_another_is_of_its_trace() -> None:
    """Ours in one of a user, and the other way round."""
    told = Told()
    quick, tracer = both(told)
    with tracer.start_as_current_span("user") as outer:
        ours = quick("ours", None, SpanKind.INTERNAL, None, ())
        with trace.use_span(ours, end_on_exit=True), tracer.start_as_current_span("inner"):
            pass
    inner, middle, root = told.ended
    assert isinstance(ours, QuickSpan)
    assert (inner.parent, middle.parent, root.parent) == (middle.context, outer.get_span_context(), None)


def test_threads_may_share_a_span() -> None:
    """What each of them puts there is there, also while one of them puts what only the SDK takes."""
    quick, _ = both(Told())
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            span = quick("n", None, SpanKind.INTERNAL, {"shared": 0}, ())
            threads = [threading.Thread(target=_put_many, args=(span, number)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wanted: dict[str, object] = {f"{number}-{at}": at for number in range(4) for at in range(20)}
            wanted |= {"shared": 19} | {f"{number}-list": (number,) for number in range(4)}
            assert dict(span.attributes or {}) == wanted
    finally:
        sys.setswitchinterval(before)


def _put_many(span: QuickSpan, number: int) -> None:
    for at in range(20):
        span.set_attributes({f"{number}-{at}": at, "shared": at})
        if at == 5 + number:
            span.set_attribute(f"{number}-list", [number])
    span.set_attribute("shared", 19)


def test_a_processor_that_is_added_later_is_told() -> None:
    """As of the SDK's spans."""
    provider, told = TracerProvider(shutdown_on_exit=False), Told()
    quick = QuickSpans(provider, "nerv")
    provider.add_span_processor(told)
    quick("n", None, SpanKind.INTERNAL, {}, ()).end()
    assert [span.name for span in told.ended] == ["n"]
