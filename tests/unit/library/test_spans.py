# SPDX-License-Identifier: Apache-2.0
"""Work on a batch goes on with the traces of its events."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nerv.telemetry import Carrier, process_spans, tracing
from nerv.types import Event

ONE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENT: Event[bytes] = Event("1", "s", "t", datetime(2013, 1, 1, tzinfo=UTC), b"{}")
TWO = "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Tracing, turned on for one test."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.turn_on(True)
    yield exporter
    tracing.turn_on(False)
    exporter.shutdown()


def test_a_batch_has_one_span_in_each_of_its_traces(spans: InMemorySpanExporter) -> None:
    """Three events of two traces give two `process` spans, and each event's context is replaced by its span's."""
    found = [replace(EVENT, traceparent=parent) for parent in (ONE, TWO, ONE)]
    with process_spans("m.history.v1", "m.projector", found) as passed:
        contexts = {parent: passed[Carrier(parent, None)].traceparent for parent in (ONE, TWO)}
    finished = spans.get_finished_spans()
    assert [span.name for span in finished] == ["process m.history.v1"] * 2
    assert {f"{span.context.trace_id:032x}" for span in finished if span.context} == {ONE[3:35], TWO[3:35]}
    assert {dict(span.attributes or {})["messaging.batch.message_count"] for span in finished} == {1, 2}
    for parent, context in contexts.items():
        assert context is not None
        assert context[:35] == parent[:35]
        assert context != parent


def test_without_tracing_nothing_is_made() -> None:
    """Off costs nothing, and the contexts that came in are passed on as they are."""
    with process_spans("m.history.v1", "m.projector", [EVENT]) as passed:
        assert passed == {}
