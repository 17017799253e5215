# SPDX-License-Identifier: Apache-2.0
"""Spans, metrics and logs. OpenTelemetry's API everywhere, its SDK only in `setup` and `spans`, which entry points call."""

from nerv.telemetry.batches import process_spans, span_of_all, traced
from nerv.telemetry.distributions import histogram
from nerv.telemetry.instruments import counter, observe
from nerv.telemetry.logs import configure_logs
from nerv.telemetry.processing import by_topic, processed
from nerv.telemetry.sampling import Sampling
from nerv.telemetry.scraping import Scrape
from nerv.telemetry.setup import telemetry
from nerv.telemetry.tracing import (
    Carrier,
    arriving,
    carrier,
    enabled,
    hop,
    marked,
    recording,
    span,
    span_of_request,
    unsampled,
)

__all__ = [
    "Carrier",
    "Sampling",
    "Scrape",
    "arriving",
    "by_topic",
    "carrier",
    "configure_logs",
    "counter",
    "enabled",
    "histogram",
    "hop",
    "marked",
    "observe",
    "process_spans",
    "processed",
    "recording",
    "span",
    "span_of_all",
    "span_of_request",
    "telemetry",
    "traced",
    "unsampled",
]
