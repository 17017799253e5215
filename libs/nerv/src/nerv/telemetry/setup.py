# SPDX-License-Identifier: Apache-2.0
"""Turn tracing on where the usual `OTEL_*` variables ask for it. Called at entry points only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from nerv.telemetry import tracing


def wanted() -> bool:
    """Whether the environment names an OTLP end point and does not turn tracing off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP{part}_ENDPOINT") for part in ("", "_TRACES"))


@contextmanager
def telemetry(service: str, instance: str) -> Iterator[None]:
    """Export spans over OTLP/HTTP while the block runs; what is still buffered goes out at its end."""
    if not wanted():
        yield
        return
    # Imported here so that a process without tracing does not pay for the SDK.
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": service, "service.namespace": "nerv", "service.instance.id": instance})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    tracing.turn_on(True)
    try:
        yield
    finally:
        tracing.turn_on(False)
        provider.shutdown()
