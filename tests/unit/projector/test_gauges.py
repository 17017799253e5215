# SPDX-License-Identifier: Apache-2.0
"""What a replica tells OpenTelemetry of its projections."""

from types import SimpleNamespace
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import nerv
from nerv.projections import Projection
from nerv.protocols.views import Cursor, Epoch, Move, View
from nerv.telemetry.lags import tell_lags
from nerv.testing.memory_views import MemoryViews
from nerv_projector.gauges import NAMES, Gauges
from nerv_projector.runner import Hosted, Runner
from nerv_projector.sources import Sources

app = nerv.App("test")
app.projection("plane")(lambda state, event: state)

EPOCH, ZERO = Epoch("now", {}, {0: 0, 1: 0}, {0: 9, 1: 9}), Cursor("id", 0)


async def told(owned: frozenset[int]) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """What a replica with these partitions tells, of a projection that has folded 4 and 5 events of 9 and 5."""
    views = MemoryViews()
    await views.begin(EPOCH, {0: ZERO, 1: ZERO}, instead_of=None)
    moves = {0: Move(ZERO.to_bytes(), Cursor("id", 4), 4), 1: Move(ZERO.to_bytes(), Cursor("id", 5), 5)}
    parked = View(0, b"null", {"cause": "no"}, partition=1)
    await views.apply(EPOCH, moves, {"N1": View(9, b"1234"), "N2": parked})
    projection: Projection[Any] = Projection(app, app.projections["plane"])
    runner = Runner(Hosted(projection, views, Sources(("h",), {}), "h", "", ()), None, None)  # type: ignore[arg-type]  # it is not started
    runner.epoch = EPOCH

    async def ends(topic: str) -> dict[int, int]:
        return {0: 9, 1: 5}

    hub: Any = SimpleNamespace(runners={"plane": runner}, owned=owned)
    watermarks: Any = SimpleNamespace(ends=ends)
    reader, gauges = InMemoryMetricReader(), Gauges("m.projector", hub, watermarks)
    provider = MeterProvider([reader])
    gauges.tell(provider.get_meter("test"))
    tell_lags(gauges.lags, provider.get_meter("test"))
    await gauges.refresh()
    data: Any = reader.get_metrics_data()
    provider.shutdown()
    found = [
        metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]
    return {m.name: [(point.value, dict(point.attributes)) for point in m.data.data_points] for m in found}


async def test_a_replica_tells_of_its_own_partitions() -> None:
    """And how many views there are, in all of them, while it owns the first one."""
    found = await told(frozenset({0}))
    at = {"nerv.projection": "plane", "messaging.destination.partition.id": "0"}
    lag = {"consumergroup": "m.projector.fold.plane", "topic": "h", "partition": "0"}
    assert found["kafka_consumergroup_lag"] == [(5, lag)]
    assert found["nerv.projection.position"] == [(4, at)]
    assert (found["nerv.projection.size"], found["nerv.projection.parked"]) == ([(4, at)], [(0, at)])
    assert [found[f"nerv.projection.{what}"][0][0] for what in ("entities", "failures", "rate", "rebuilding")] == [
        2,
        0,
        0,
        1,
    ]
    other = await told(frozenset({1}))
    assert other["kafka_consumergroup_lag"] == [(0, lag | {"partition": "1"})]
    assert other["nerv.projection.delay"][0][0] == 0
    assert other["nerv.projection.parked"][0][0] == 1
    assert set(NAMES) - other.keys() == {"nerv.projection.entities"}
