# SPDX-License-Identifier: Apache-2.0
"""How far projections are, for OpenTelemetry. A replica tells of the partitions that it owns, and of what all share only while it
owns the first one, so that no sum over replicas counts anything twice."""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial

import structlog
from opentelemetry.metrics import Meter

from nerv.errors import NervError
from nerv.telemetry import names as n
from nerv.telemetry.instruments import Seen, observe
from nerv.telemetry.lags import Lags, tell_lags
from nerv.telemetry.setup import METRICS, allowed
from nerv_projector.faust_app import FaustHost
from nerv_projector.hub import Hub
from nerv_projector.lag import Standing, standing
from nerv_projector.runner import Runner
from nerv_projector.watermarks import Watermarks

log = structlog.get_logger(__name__)

REFRESH_SECONDS = 5.0  # metrics are collected on a thread of their own: what they say is at most so old

NAMES = (
    n.PROJECTION_DELAY, n.PROJECTION_POSITION, n.PROJECTION_RATE, n.PROJECTION_FAILURES, n.PROJECTION_ENTITIES,
    n.PROJECTION_PARKED, n.PROJECTION_SIZE, n.PROJECTION_REBUILDING,
)  # fmt: skip

Told = dict[str, list[tuple[float, dict[str, str]]]]


class Gauges:
    """What was seen last, and the instruments that tell it."""

    def __init__(self, group: str, hub: Hub, watermarks: Watermarks) -> None:
        self._group, self._hub, self._watermarks = group, hub, watermarks
        self._told: Told = {}
        self._lags: Lags = {}

    def lags(self) -> Lags:
        """By group, topic and partition, when they were last looked at: told as those of all groups are (`telemetry.lags`)."""
        return self._lags

    def tell(self, meter: Meter | None = None) -> None:
        """Have all of it observed, whenever metrics are collected."""
        for name in NAMES:
            observe(name, partial(self._seen, name), meter)

    def _seen(self, name: str) -> Seen:
        return self._told.get(name, ())

    async def refresh(self) -> None:
        """Look at every projection; one that cannot be looked at now is left out."""
        told: Told = defaultdict(list)
        lags: dict[tuple[str, str, int], int] = {}
        for runner in self._hub.runners.values():
            try:
                found = await standing(runner, self._watermarks)
            except NervError as error:
                log.debug("gauges", projection=runner.name, cause=error.detail)
                continue
            for name, value, more in figures(runner, found, self._hub.owned):
                told[name].append((value, {n.PROJECTION: runner.name, **more}))
            place = (f"{self._group}.fold.{runner.name}", runner.hosted.folded_topic)
            lags |= {(*place, p): lag for p, lag in found.partitions.items() if p in self._hub.owned}
        self._told, self._lags = told, lags


def tell(group: str, hub: Hub, watermarks: Watermarks, host: FaustHost) -> None:
    """Have OpenTelemetry told of all that, where that is asked for."""
    if allowed(METRICS):
        gauges = Gauges(group, hub, watermarks)
        gauges.tell()
        tell_lags(gauges.lags)
        host.every(REFRESH_SECONDS, gauges.refresh)


def figures(runner: Runner, found: Standing, owned: frozenset[int]) -> Iterable[tuple[str, float, dict[str, str]]]:
    """The figures of a projection that this replica tells: name, value, and attributes beside the projection."""
    meter = runner.hosted.meter
    for partition in sorted(owned & found.partitions.keys()):
        at, lag = {n.PARTITION: str(partition)}, found.partitions[partition]
        yield n.PROJECTION_POSITION, found.positions[partition], at
        yield n.PROJECTION_PARKED, found.progress.parked_in.get(partition, 0), at
        yield n.PROJECTION_SIZE, found.progress.size_in.get(partition, 0), at
        seconds = meter.seconds_behind(partition) if lag else 0.0
        if seconds is not None:
            yield n.PROJECTION_DELAY, seconds, at
    yield n.PROJECTION_RATE, meter.rate(), {}
    yield n.PROJECTION_FAILURES, runner.failures, {}
    yield n.PROJECTION_REBUILDING, int(not runner.ready), {}
    if 0 in owned:
        yield n.PROJECTION_ENTITIES, found.progress.entities, {}
