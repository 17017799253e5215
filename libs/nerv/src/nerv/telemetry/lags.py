# SPDX-License-Identifier: Apache-2.0
"""The lag of groups for OpenTelemetry: each replica tells of what it owns, so that no sum counts a partition twice."""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from nerv.telemetry import names as n

Lags = Mapping[tuple[str, str, int], int]


def tell_lags(lags: Callable[[], Lags], meter: Meter | None = None) -> None:
    """Have the lag of each group, topic and partition observed, whenever metrics are collected."""

    def observe(options: CallbackOptions) -> Iterable[Observation]:
        for (group, topic, partition), lag in lags().items():
            yield Observation(lag, {n.LAG_GROUP: group, n.LAG_TOPIC: topic, n.LAG_PARTITION: str(partition)})

    (meter or metrics.get_meter("nerv")).create_observable_gauge(
        n.GROUP_LAG, [observe], description="Offsets of a partition that a group has not settled"
    )
