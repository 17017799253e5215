# SPDX-License-Identifier: Apache-2.0
"""Spans and logs. OpenTelemetry's API everywhere, its SDK only in `setup`, which entry points call."""

from nerv.telemetry.batches import process_spans
from nerv.telemetry.logs import configure_logs
from nerv.telemetry.setup import telemetry
from nerv.telemetry.tracing import Carrier, carrier, contexts_of, enabled, span

__all__ = ["Carrier", "carrier", "configure_logs", "contexts_of", "enabled", "process_spans", "span", "telemetry"]
