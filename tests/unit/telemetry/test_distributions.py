# SPDX-License-Identifier: Apache-2.0
"""Our histograms say what those of OpenTelemetry's SDK would."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData

from nerv.telemetry import counter, distributions, histogram, setup
from nerv.telemetry import names as n
from nerv.telemetry.declared import METRICS

VALUES = (0.0, 0.001, 0.0011, 0.3, 0.5, 29.9, 30.0, 31.0, 1e9)
OF_TOPIC = {n.DESTINATION: "m.history.v1"}


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No histogram of another test."""
    monkeypatch.setattr(distributions, "_histograms", {})


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[MetricsData]:
    """What would be sent to a collector."""
    sent: list[MetricsData] = []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:9/v1/metrics")
    monkeypatch.setattr(OTLPMetricExporter, "export", lambda self, data, *told, **more: sent.append(data))
    return sent


def test_values_are_counted_as_the_sdk_counts_them() -> None:
    """In the same buckets, with the same sum, least and most: on the bounds, between and beyond them."""
    metric, reader = METRICS[n.APPEND_DURATION], InMemoryMetricReader()
    provider = MeterProvider([reader])
    theirs = provider.get_meter("t").create_histogram(
        metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=list(metric.buckets)
    )
    ours = histogram(metric.name)
    for value in VALUES:
        theirs.record(value, OF_TOPIC)
        ours.record(value, OF_TOPIC)
    data: Any = reader.get_metrics_data()
    [of_sdk] = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
    [found] = distributions.collected()
    assert (found.name, found.unit, found.description) == (of_sdk.name, of_sdk.unit, of_sdk.description)
    assert _told(found) == _told(of_sdk)
    provider.shutdown()


def _told(metric: Any) -> Any:
    [point] = metric.data.data_points
    counted = (point.count, point.sum, point.min, point.max)
    buckets = list(zip(point.explicit_bounds, point.bucket_counts, strict=False))
    return metric.data.aggregation_temporality, dict(point.attributes), counted, buckets, point.bucket_counts[-1]


def test_attributes_make_a_series_whatever_their_order() -> None:
    """And a histogram is one in a process; a series without a value is not told of."""
    first = histogram(n.OPERATION_DURATION).of({n.SYSTEM: "kafka", n.OPERATION_NAME: "commit"})
    assert histogram(n.OPERATION_DURATION).of({n.OPERATION_NAME: "commit", n.SYSTEM: "kafka"}) is first
    assert distributions.collected() == []


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should attributes come to have many values after all: the rest is counted, too, and not told apart."""
    monkeypatch.setattr(distributions, "MOST", 2)
    found = histogram(n.APPEND_DURATION)
    for topic in ("a", "b", "c", "d", "a"):
        found.record(0.1, {n.DESTINATION: topic})
    counts = {tuple(point.attributes.items()): point.count for point in found.points() if point.attributes}
    assert counts == {((n.DESTINATION, "a"),): 2, ((n.DESTINATION, "b"),): 1, (("otel.metric.overflow", True),): 2}


def test_no_value_is_lost_between_threads() -> None:
    """Transactions are measured in the thread of their writer."""
    series = histogram(n.APPEND_DURATION).of(OF_TOPIC)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(series.record, [0.001] * 20_000))
    assert series.point().count == 20_000


def test_a_collector_is_sent_them_with_all_else(pushed: list[MetricsData]) -> None:
    """At the end of the service at the latest."""
    provider = MeterProvider(setup.pushing())
    counter(n.DEADLETTERS, provider.get_meter("t")).add(1, {n.DESTINATION: "a.b.v1", n.BY: "c"})
    histogram(n.APPEND_DURATION).record(0.2, OF_TOPIC)
    provider.shutdown()
    sent = {m.name for data in pushed for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}
    assert sent >= {n.APPEND_DURATION, n.DEADLETTERS}
