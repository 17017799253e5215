# SPDX-License-Identifier: Apache-2.0
"""What OpenTelemetry is told of groups."""

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from nerv.telemetry.lags import tell_lags


def test_the_lag_of_each_partition_is_told_when_metrics_are_collected() -> None:
    """By the names that KEDA's rules and dashboards of Kafka know; a partition that went to another replica is told no more."""
    lags, reader = {("nerv.broker.mail", "a.b.v1", 0): 3, ("nerv.broker.mail", "a.b.v1", 1): 0}, InMemoryMetricReader()
    provider = MeterProvider([reader])
    tell_lags(lambda: lags, provider.get_meter("test"))
    assert _told(reader) == {
        ("kafka_consumergroup_lag", "nerv.broker.mail", "a.b.v1", "0"): 3,
        ("kafka_consumergroup_lag", "nerv.broker.mail", "a.b.v1", "1"): 0,
    }
    del lags["nerv.broker.mail", "a.b.v1", 0]
    assert list(_told(reader)) == [("kafka_consumergroup_lag", "nerv.broker.mail", "a.b.v1", "1")]
    provider.shutdown()


def _told(reader: InMemoryMetricReader) -> dict[tuple[str, str, str, str], int | float]:
    data = reader.get_metrics_data()
    found = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
        for point in metric.data.data_points:
            assert isinstance(point, NumberDataPoint)
            at = point.attributes or {}
            name = (metric.name, str(at["consumergroup"]), str(at["topic"]), str(at["partition"]))
            found[name] = point.value
    return found
