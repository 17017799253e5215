# SPDX-License-Identifier: Apache-2.0
"""How far the views are behind history, over all hops, so that 0 is the truth."""

from collections.abc import Mapping
from dataclasses import dataclass

from nerv.errors import Unavailable
from nerv.protocols.views import Cursor, Epoch, Progress
from nerv_projector.rekeying import RekeyHop
from nerv_projector.runner import Runner
from nerv_projector.watermarks import Watermarks


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


async def standing(runner: Runner, watermarks: Watermarks) -> Standing:
    """Where a projection stands. Raises Unavailable while it starts over.

    The ends of history are read first and the cursors last, each hop before the next: what was committed before the call
    is then counted in at least one hop until it is in the views. What is in a transaction counts, too, for what was committed and
    acknowledged a moment ago cannot be told from it; and so do marks in the log until the hop has moved over them.
    """
    epoch = runner.epoch
    if epoch is None:
        raise Unavailable(f"projection {runner.name} has not started yet", retry_after=0.5)
    hops: dict[str, int] = {}
    for lane in runner.hosted.lanes:
        if isinstance(lane.hop, RekeyHop):
            hops["rekey"] = await _not_rekeyed(runner, epoch, lane.hop, watermarks)
    ends = await watermarks.ends(runner.hosted.folded_topic)
    progress = await runner.hosted.views.progress(epoch)
    if len(progress.cursors) < len(ends):
        raise Unavailable(f"projection {runner.name} starts over", retry_after=0.5)
    done = {p: Cursor.from_bytes(stored).next_offset for p, stored in progress.cursors.items()}
    partitions = {p: max(0, end - done[p]) for p, end in ends.items()}
    hops["fold"] = sum(partitions.values())
    return Standing(hops, progress, partitions, {p: done[p] for p in partitions})


async def _not_rekeyed(runner: Runner, epoch: Epoch, hop: RekeyHop, watermarks: Watermarks) -> int:
    places = hop.sources.places(epoch.first)
    ends, begins = await watermarks.written(places), await watermarks.begins(places)
    consumer = next(lane.consumer for lane in runner.hosted.lanes if lane.hop is hop)
    if consumer is None or runner.epoch != epoch:
        raise Unavailable(f"projection {runner.name} starts over", retry_after=0.5)
    committed = await consumer.committed(list(ends))
    return sum(max(0, end - max(begins[place], committed.get(place, 0))) for place, end in ends.items())
