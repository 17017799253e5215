# SPDX-License-Identifier: Apache-2.0
"""How far the views are behind history, over all hops, so that 0 is the truth."""

from collections.abc import Mapping
from dataclasses import dataclass

from nerv.errors import NervError, Unavailable
from nerv.protocols.views import Cursor, Epoch, Progress
from nerv.telemetry.lags import tell_lags
from nerv.telemetry.setup import METRICS, wanted
from nerv_projector.faust_app import FaustHost
from nerv_projector.hub import Hub
from nerv_projector.rekeying import RekeyHop
from nerv_projector.runner import Runner
from nerv_projector.watermarks import Watermarks

LOOK_SECONDS = 5.0  # between two looks at the lag, for whoever collects metrics


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a projection stands; `hops` is the lag of each hop by its name."""

    hops: Mapping[str, int]
    progress: Progress
    partitions: Mapping[int, int]  # of the topic that is folded: how far each is behind
    positions: Mapping[int, int]  # and the next offset of each

    @property
    def lag(self) -> int:
        """All hops together."""
        return sum(self.hops.values())


class Lags:
    """The lag of the partitions that this replica owns, looked at now and then; nothing of a projection that starts over."""

    def __init__(self, group: str, hub: Hub, watermarks: Watermarks) -> None:
        self._group, self._hub, self._watermarks = group, hub, watermarks
        self._found: dict[tuple[str, str, int], int] = {}

    def found(self) -> Mapping[tuple[str, str, int], int]:
        """By group, topic and partition, when it was last looked at."""
        return self._found

    async def look(self) -> None:
        """Look."""
        found: dict[tuple[str, str, int], int] = {}
        for name, runner in self._hub.runners.items():
            try:
                at = await standing(runner, self._watermarks)
            except NervError:
                continue
            place = (f"{self._group}.fold.{name}", runner.hosted.folded_topic)
            found |= {(*place, p): lag for p, lag in at.partitions.items() if p in self._hub.owned}
        self._found = found


def tell(group: str, hub: Hub, watermarks: Watermarks, host: FaustHost) -> None:
    """Have OpenTelemetry told of it, where that is asked for."""
    if wanted(METRICS):
        lags = Lags(group, hub, watermarks)
        tell_lags(lags.found)
        host.every(LOOK_SECONDS, lags.look)


async def standing(runner: Runner, watermarks: Watermarks) -> Standing:
    """Where a projection stands. Raises Unavailable while it starts over.

    The ends of history are read first and the cursors last, each hop before the next: what was committed before the call
    is then counted in at least one hop until it is in the views. Marks in the log that are not events count, too, until
    the hop has moved over them.
    """
    epoch = runner.epoch
    if epoch is None:
        raise Unavailable(f"projection {runner.name} has not started yet", retry_after=0.5)
    hops: dict[str, int] = {}
    for lane in runner.hosted.lanes:
        if isinstance(lane.hop, RekeyHop):
            hops["rekey"] = await _not_rekeyed(runner, epoch, lane.hop, watermarks)
    ends = await watermarks.bounds(runner.hosted.folded_topic)
    progress = await runner.hosted.views.progress(epoch)
    if len(progress.cursors) < len(ends):
        raise Unavailable(f"projection {runner.name} starts over", retry_after=0.5)
    done = {p: Cursor.from_bytes(stored).next_offset for p, stored in progress.cursors.items()}
    partitions = {p: max(0, end - done[p]) for p, (_, end) in ends.items()}
    hops["fold"] = sum(partitions.values())
    return Standing(hops, progress, partitions, {p: done[p] for p in ends})


async def _not_rekeyed(runner: Runner, epoch: Epoch, hop: RekeyHop, watermarks: Watermarks) -> int:
    ends = await watermarks.ranges(hop.sources.places(epoch.first))
    consumer = next(lane.consumer for lane in runner.hosted.lanes if lane.hop is hop)
    if consumer is None or runner.epoch != epoch:
        raise Unavailable(f"projection {runner.name} starts over", retry_after=0.5)
    committed = await consumer.committed(list(ends))
    return sum(max(0, end - max(low, committed.get(place, low))) for place, (low, end) in ends.items())
