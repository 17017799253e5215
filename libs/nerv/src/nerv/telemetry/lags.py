# SPDX-License-Identifier: Apache-2.0
"""The lag of groups, for OpenTelemetry and for heartbeats: each replica tells of what it owns, so that no sum counts a partition
twice."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from opentelemetry.metrics import Meter

from nerv.telemetry import names as n
from nerv.telemetry.instruments import observe

Lags = Mapping[tuple[str, str, int], int]
Delays = Mapping[tuple[str, str, int], float]

_of_process: list[Callable[[], Lags]] = []


def tell_lags(lags: Callable[[], Lags], meter: Meter | None = None) -> None:
    """Have the lag of each group, topic and partition observed, whenever metrics are collected."""
    observe(n.GROUP_LAG, lambda: _seen(lags()), meter)
    if meter is None:
        _of_process.append(lags)


def told() -> dict[tuple[str, str], int]:
    """What this process tells, by group and topic."""
    found: Counter[tuple[str, str]] = Counter()
    for lags in _of_process:
        for (group, topic, _), lag in lags().items():
            found[group, topic] += lag
    return dict(found)


def tell_delays(delays: Callable[[], Delays], meter: Meter | None = None) -> None:
    """The same, in seconds."""
    observe(n.GROUP_DELAY, lambda: _seen(delays()), meter)


def _seen(found: Mapping[tuple[str, str, int], float]) -> Iterator[tuple[float, dict[str, str]]]:
    for (group, topic, partition), value in found.items():
        yield value, {n.LAG_GROUP: group, n.LAG_TOPIC: topic, n.LAG_PARTITION: str(partition)}
