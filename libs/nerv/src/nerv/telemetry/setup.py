# SPDX-License-Identifier: Apache-2.0
"""Turn tracing and metrics on, unless the usual `OTEL_*` variables forbid it. Called at entry points only."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from nerv.telemetry import names as n
from nerv.telemetry import tracing
from nerv.telemetry.distributions import Completing
from nerv.telemetry.sampling import sampling_of
from nerv.telemetry.scraping import Scrape

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

    from nerv.telemetry.spans.recent import Recent

TRACES, METRICS = "TRACES", "METRICS"
LAST_MS = 3000  # for the last export, when the service ends


def allowed(signal: str) -> bool:
    """Whether the environment leaves `TRACES` or `METRICS` on."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not disabled and os.environ.get(f"OTEL_{signal}_EXPORTER") != "none"


def wanted(signal: str) -> bool:
    """Whether the environment names an OTLP end point for `TRACES` or `METRICS`, and does not turn them off."""
    named = any(os.environ.get(f"OTEL_EXPORTER_OTLP{part}_ENDPOINT") for part in ("", f"_{signal}"))
    return named and allowed(signal)


@contextmanager
def telemetry(service: str, instance: str, recent: "Recent | None" = None) -> Iterator[Scrape | None]:
    """Export spans and metrics over OTLP/HTTP while the block runs; what is still buffered goes out at its end.

    Yields what Prometheus may scrape: metrics are kept unless OTEL_METRICS_EXPORTER is `none`, or OTEL_SDK_DISABLED `true`.
    `recent` is told of every span, with an end point or without. Raises Misconfigured for a sampler that is not known.
    """
    traces = wanted(TRACES) or (recent is not None and allowed(TRACES))
    if not (allowed(METRICS) or traces):
        yield None
        return
    # Imported here, as all of the SDK, so that a process without telemetry does not pay for it.
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create({n.SERVICE_NAME: service, "service.namespace": "nerv", "service.instance.id": instance})
    with ExitStack() as stack:
        if traces:
            stack.enter_context(_traces(resource, recent))
        yield stack.enter_context(_metrics(resource)) if allowed(METRICS) else None


@contextmanager
def _metrics(resource: "Resource") -> Iterator[Scrape]:
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider

    scrape = Scrape()
    provider = MeterProvider([scrape.reader, *pushing()], resource)
    metrics.set_meter_provider(provider)
    try:
        yield scrape
    finally:
        provider.shutdown(timeout_millis=LAST_MS)


def pushing() -> "list[MetricReader]":
    """What sends metrics where that is asked for, every minute, or as OTEL_METRIC_EXPORT_INTERVAL (ms) says."""
    if not wanted(METRICS):
        return []
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    class Reader(Completing, PeriodicExportingMetricReader):
        """It, with the histograms of this process."""

    return [Reader(OTLPMetricExporter())]


@contextmanager
def _traces(resource: "Resource", recent: "Recent | None") -> Iterator[None]:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from nerv.telemetry.spans.quick import QuickSpans

    sampling = sampling_of()
    provider = TracerProvider(ALWAYS_ON, resource)  # it is asked only for spans that `sampling` wants
    if recent is not None:
        provider.add_span_processor(recent)
    if wanted(TRACES):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracing.turn_on(sampling, QuickSpans(provider, "nerv"))
    try:
        yield
    finally:
        tracing.sample(None)
        provider.shutdown()
