# SPDX-License-Identifier: Apache-2.0
"""Instruments of OpenTelemetry for metrics that are declared; counting costs some microseconds: do it once a batch.

They may be made before telemetry is set up, and cost a tenth of a microsecond where it never is. Histograms are in
`distributions`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Counter, Meter, Observation

from nerv.telemetry.declared import METRICS, Kind

Seen: TypeAlias = Iterable[tuple[float, Mapping[str, str]]]
"""Values, each with its attributes."""


def counter(name: str, meter: Meter | None = None) -> Counter:
    """What only grows. `add(0, attributes)` shows it before anything has happened."""
    metric = METRICS[name]
    return _of(meter).create_counter(name, metric.unit, metric.description)


def observe(name: str, look: Callable[[], Seen], meter: Meter | None = None) -> None:
    """Have `look` asked whenever metrics are collected. It is called on another thread, and must answer at once."""
    metric = METRICS[name]

    def observed(options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, attributes) for value, attributes in look()]

    made = _of(meter)
    create = made.create_observable_counter if metric.kind is Kind.COUNTER else made.create_observable_gauge
    create(name, [observed], metric.unit, metric.description)


def _of(meter: Meter | None) -> Meter:
    return meter or metrics.get_meter("nerv")
