# SPDX-License-Identifier: Apache-2.0
"""Histograms, counted here and handed to OpenTelemetry when metrics are collected.

Those of its SDK take 6 µs for a value, as long as a request spends in all that a service checks: for each value attributes are
copied, cleaned and sorted. Here a series is found once and counts from then on, in half a microsecond.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from nerv.telemetry.declared import METRICS, Metric

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData
    from opentelemetry.sdk.metrics.export import Metric as Collected

SCOPE = "nerv"
MOST = 2000  # series of a histogram; what comes with other attributes is counted in one more, as the SDK does

Attributes = Mapping[str, str | int]

_OVERFLOW: Attributes = {"otel.metric.overflow": True}


class Series:
    """The values of one set of attributes. On any thread."""

    __slots__ = ("_bounds", "_counts", "_least", "_lock", "_most", "_since", "_sum", "attributes")

    def __init__(self, bounds: Sequence[float], attributes: Attributes) -> None:
        self.attributes = dict(attributes)
        self._bounds, self._counts = bounds, [0] * (len(bounds) + 1)
        self._sum, self._least, self._most = 0.0, math.inf, -math.inf
        self._since = time.time_ns()
        self._lock = Lock()

    def record(self, value: float) -> None:
        """Count a value in."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value
            if value < self._least:
                self._least = value
            if value > self._most:
                self._most = value

    def point(self) -> "HistogramDataPoint":
        """All of them so far."""
        from opentelemetry.sdk.metrics.export import HistogramDataPoint

        with self._lock:
            counts, total, least, most = list(self._counts), self._sum, self._least, self._most
        return HistogramDataPoint(
            attributes=self.attributes,
            start_time_unix_nano=self._since,
            time_unix_nano=time.time_ns(),
            count=sum(counts),
            sum=total,
            bucket_counts=counts,
            explicit_bounds=self._bounds,
            min=least,
            max=most,
        )


class Histogram:
    """How the values of a declared metric are distributed."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._bounds = tuple(metric.buckets)
        self._series: dict[tuple[tuple[str, str | int], ...], Series] = {}

    def of(self, attributes: Attributes) -> Series:
        """The series with these attributes, to be kept by who records often."""
        found = self._series.get(key := tuple(sorted(attributes.items())))
        if found is not None:
            return found
        if len(self._series) >= MOST and attributes is not _OVERFLOW:
            return self.of(_OVERFLOW)
        return self._series.setdefault(key, Series(self._bounds, attributes))

    def record(self, value: float, attributes: Attributes) -> None:
        """Count a value in."""
        self.of(attributes).record(value)

    def points(self) -> "list[HistogramDataPoint]":
        """Every series that has values, as it is now."""
        return [point for series in list(self._series.values()) if (point := series.point()).count]

    def collected(self) -> "Collected":
        """It, as OpenTelemetry's readers take it: cumulative, since this process began."""
        from opentelemetry.sdk.metrics.export import AggregationTemporality
        from opentelemetry.sdk.metrics.export import Histogram as Data
        from opentelemetry.sdk.metrics.export import Metric as Collected

        metric, data = self._metric, Data(self.points(), AggregationTemporality.CUMULATIVE)
        return Collected(metric.name, metric.description, metric.unit, data)


_histograms: dict[str, Histogram] = {}


def histogram(name: str) -> Histogram:
    """That of a declared metric: one in a process, whoever asks."""
    found = _histograms.get(name)
    return _histograms.setdefault(name, Histogram(METRICS[name])) if found is None else found


def collected() -> "list[Collected]":
    """Those of this process that have values."""
    return [one for one in (each.collected() for each in list(_histograms.values())) if one.data.data_points]


def completed(found: "MetricsData") -> "MetricsData":
    """What OpenTelemetry's SDK has collected, and the histograms of this process."""
    from opentelemetry.sdk.metrics.export import ScopeMetrics
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    first, *others = found.resource_metrics
    scopes = [*first.scope_metrics, ScopeMetrics(InstrumentationScope(SCOPE), collected(), "")]
    return replace(found, resource_metrics=[replace(first, scope_metrics=scopes), *others])


class Completing:
    """For a `MetricReader` to be derived from before its own class: it is given the histograms of this process, too."""

    def _receive_metrics(self, metrics_data: "MetricsData", *told: Any, **more: Any) -> None:
        super()._receive_metrics(completed(metrics_data), *told, **more)  # type: ignore[misc]
