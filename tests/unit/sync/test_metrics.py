# SPDX-License-Identifier: Apache-2.0
"""What operators see of runs: objects and seconds, by sync and by what the objects are, and memory."""

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from nerv.telemetry import names as n
from nerv_sync import performing
from nerv_sync.model import Order
from tests.unit.sync.test_pairs import Hangar


def told(reader: InMemoryMetricReader, name: str) -> list[dict[str, Any]]:
    """The attributes of each series of a metric, with its value, or how many there were."""
    data = reader.get_metrics_data()
    points = [
        point
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]
    return [{**(p.attributes or {}), "value": getattr(p, "value", getattr(p, "count", None))} for p in points]


def test_the_memory_of_a_run_is_that_of_its_process() -> None:
    """And not that of the process that has started it."""
    held = bytearray(400 * 2**20)
    held[::4096] = b"x" * len(held[::4096])  # so that it is there
    program = "from nerv_sync.record import memory_mib; print(memory_mib())"
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert 10 < float(told.stdout) < len(held) / 2**20


async def test_objects_and_seconds_are_counted_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """By action and outcome; the seconds of planning and of applying apart."""
    objects, seconds = InMemoryMetricReader(), InMemoryMetricReader()
    monkeypatch.setattr(performing, "_objects", MeterProvider([objects]).get_meter("t").create_counter(n.SYNC_OBJECTS))
    monkeypatch.setattr(
        performing, "_seconds", MeterProvider([seconds]).get_meter("t").create_histogram(n.SYNC_DURATION)
    )
    hangar = Hangar()
    for key in ("a", "b"):
        hangar.put(hangar.left, key)
    async with hangar.replica() as runs:
        await runs.order(Order("planes", "first"))
    by = {n.SYNC: "planes", n.SYNC_KIND: "planes"}
    assert told(objects, n.SYNC_OBJECTS) == [
        {**by, "nerv.sync.action": "create", "nerv.sync.outcome": "done", "value": 2}
    ]
    assert told(seconds, n.SYNC_DURATION) == [
        {**by, "nerv.sync.part": "plan", "value": 1},
        {**by, "nerv.sync.part": "apply", "value": 1},
    ]
