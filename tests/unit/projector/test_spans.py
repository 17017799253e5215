# SPDX-License-Identifier: Apache-2.0
"""The projector goes on with the traces of the events that it works on."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nerv.telemetry import Carrier, tracing
from nerv_projector.records import process_spans
from tests.unit.projector.records_in_memory import event

ONE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
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
    found = [replace(event("t", "plane-N1", {}), traceparent=parent) for parent in (ONE, TWO, ONE)]
    with process_spans("m.history.v1", "m.projector", "plane", found) as passed:
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
    with process_spans("m.history.v1", "m.projector", "plane", [event("t", "plane-N1", {})]) as passed:
        assert passed == {}
