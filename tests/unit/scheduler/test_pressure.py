# SPDX-License-Identifier: Apache-2.0
"""How much waits: told to autoscalers, and a bound for those who start runs."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from nerv.errors import Overloaded
from nerv.protocols.queue import Depth
from nerv.testing.memory_queue import MemoryQueue
from nerv_scheduler.pressure import Pool, Pressure
from tests.unit.scheduler.scheduler_in_memory import made


def told(reader: InMemoryMetricReader) -> dict[tuple[str, ...], int | float]:
    """What OpenTelemetry collects: name and values of the attributes."""
    data, found = reader.get_metrics_data(), {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
        for point in metric.data.data_points:
            assert isinstance(point, NumberDataPoint)
            found[metric.name, *map(str, (point.attributes or {}).values())] = point.value
    return found


async def test_depth_lag_and_pools_are_told() -> None:
    """By name, for each state, pool and count."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    pools = {"slots": Pool(3, 16)}
    pressure = Pressure(MemoryQueue(), 10, lambda: pools, Counter(stale=2), provider.get_meter("test"))
    pressure.depth = Depth(5, 4, 3, 2.5)
    assert told(reader) == {
        ("nerv.queue.depth", "default", "ready"): 5,
        ("nerv.queue.depth", "default", "taken"): 4,
        ("nerv.queue.depth", "default", "delayed"): 3,
        ("nerv.queue.lag", "default"): 2.5,
        ("nerv.pool.busy", "slots"): 3,
        ("nerv.pool.size", "slots"): 16,
        ("nerv.work.count", "stale"): 2,
    }
    assert pressure.document()["pools"] == {"slots": {"busy": 3, "size": 16}}
    provider.shutdown()


async def test_new_runs_are_refused_while_too_much_waits() -> None:
    """429, with when to come again; until it is less."""

    async def work() -> int:
        return 1

    world = made(work)
    pressure = Pressure(world.queue, 2, dict, Counter())
    for run in ("r1", "r2", "r3"):
        pressure.check()
        await world.starter.start("w", {}, run)
    async with pressure:
        async with asyncio.timeout(10):
            while pressure.depth.ready < 3:  # noqa: ASYNC110 - it is looked at in a task of its own
                await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="3 tasks wait") as refused:
        pressure.check()
    assert refused.value.status == 429
    assert refused.value.retry_after
    pressure.depth = replace(pressure.depth, ready=2)
    pressure.check()
