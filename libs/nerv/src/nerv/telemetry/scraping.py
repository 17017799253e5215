# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads: the metrics of this process as text, made when somebody asks and not before."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader

from nerv.telemetry import names as n
from nerv.telemetry.distributions import Completing


class Scrape:
    """The reader that collects for `/metrics`. Call it for the text; it takes a millisecond for some hundred series."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        # Imported here, as all of the SDK, so that a process without telemetry does not pay for it.
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import CollectorRegistry, ProcessCollector

        class Reader(Completing, PrometheusMetricReader):
            """It, with the histograms of this process."""

        # Its own: the one of the process has what any imported library registers.
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.reader: MetricReader = Reader(
            registry=self._registry,
            scope_info_enabled=False,
            # Every series says of which service it is, however it is scraped.
            resource_attribute_filter=lambda name: name == n.SERVICE_NAME,
        )

    def __call__(self) -> bytes:
        """The text. Safe on any thread."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)
