# SPDX-License-Identifier: Apache-2.0
"""Spans, metrics and logs. OpenTelemetry's API everywhere, its SDK only in `setup`, which entry points call."""

from nerv.telemetry.batches import process_spans
from nerv.telemetry.instruments import counter, histogram, observe
from nerv.telemetry.logs import configure_logs
from nerv.telemetry.processing import by_topic, processed
from nerv.telemetry.scraping import Scrape
from nerv.telemetry.setup import telemetry
from nerv.telemetry.tracing import Carrier, carrier, contexts_of, enabled, span

__all__ = [
    "Carrier",
    "Scrape",
    "by_topic",
    "carrier",
    "configure_logs",
    "contexts_of",
    "counter",
    "enabled",
    "histogram",
    "observe",
    "process_spans",
    "processed",
    "span",
    "telemetry",
]
