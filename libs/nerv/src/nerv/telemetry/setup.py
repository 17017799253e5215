# SPDX-License-Identifier: Apache-2.0
"""Turn tracing and metrics on where the usual `OTEL_*` variables ask for them. Called at entry points only."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from nerv.telemetry import tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

TRACES, METRICS = "TRACES", "METRICS"
LAST_MS = 3000  # for the last export, when the service ends


def wanted(signal: str) -> bool:
    """Whether the environment names an OTLP end point for `TRACES` or `METRICS`, and does not turn them off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get(f"OTEL_{signal}_EXPORTER") == "none":
        return False
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP{part}_ENDPOINT") for part in ("", f"_{signal}"))


@contextmanager
def telemetry(service: str, instance: str) -> Iterator[None]:
    """Export spans and metrics over OTLP/HTTP while the block runs; what is still buffered goes out at its end."""
    asked = {signal: part for signal, part in ((TRACES, _traces), (METRICS, _metrics)) if wanted(signal)}
    if not asked:
        yield
        return
    # Imported here, as all of the SDK, so that a process without telemetry does not pay for it.
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create({"service.name": service, "service.namespace": "nerv", "service.instance.id": instance})
    with ExitStack() as stack:
        for part in asked.values():
            stack.enter_context(part(resource))
        yield


@contextmanager
def _metrics(resource: "Resource") -> Iterator[None]:
    """Every minute, or as OTEL_METRIC_EXPORT_INTERVAL (ms) says."""
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
    metrics.set_meter_provider(provider)
    try:
        yield
    finally:
        provider.shutdown(timeout_millis=LAST_MS)


@contextmanager
def _traces(resource: "Resource") -> Iterator[None]:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracing.turn_on(True)
    try:
        yield
    finally:
        tracing.turn_on(False)
        provider.shutdown()
