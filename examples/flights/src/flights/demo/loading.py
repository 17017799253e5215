# SPDX-License-Identifier: Apache-2.0
"""Step 2: a month of flights (or a year) through broker, history and views, with the rate of each hop."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from flights.data import events_in_order, load_flights
from flights.demo.hops import Hop, Hops, history_size, standing
from flights.demo.job import Job
from flights.demo.publishing import publish_all
from flights.demo.together import together
from flights.events import FLIGHT_TOPIC
from flights.reference import Reference
from nerv.errors import Unavailable
from nerv.telemetry import unsampled
from nerv.types import Event

LOOK_SECONDS = 0.4  # between two looks at how far the hops are
STALL_SECONDS = 60.0  # without any progress: something is broken, and waiting will not mend it
BATCH_SECONDS = 60.0  # for one batch, with its repeats
TRACED_BATCHES = 8  # a trace of all would have a hundred thousand spans, which nobody looks at


async def load(job: Job) -> None:
    """Publish every event of the chosen days, and wait until each is in history and in every view."""
    months = await asyncio.to_thread(load_flights, job.data, job.months, job.days)
    expected = expected_folds(job.reference)
    before = await _size(job)
    count = job.reference.events
    hops = Hops(Hop("published", count), Hop("appended", count), Hop("folded", sum(expected.values())))
    job.hops[:] = hops.all()
    send = _Sender(job).send
    with _progress(job) as progress:
        watch = _Watch(job, hops, before, expected, Bars.of(progress, hops.all()))
        async with together() as group:
            group.create_task(watch.until_visible())
            sent = await publish_all(send, events_in_order(months), hops.published.more)
    job.expect("events published", sent, count)
    for hop in hops.all():
        job.screen.print(f"  {hop.name:9}  {hop.done:>9,} events  {hop.rate:>9,.0f} a second")
    if not hops.appended.done:
        job.screen.print("  this mesh had all of them from an earlier demo: to publish them again has changed nothing")


@dataclass(slots=True)
class _Sender:
    job: Job
    batches: int = 0

    async def send(self, batch: Sequence[Event[bytes]]) -> None:
        self.batches += 1
        with nullcontext() if self.batches <= TRACED_BATCHES else unsampled():
            await self.job.client.topics.publish(FLIGHT_TOPIC, batch, seconds=BATCH_SECONDS)


def expected_folds(reference: Reference) -> Mapping[str, int]:
    """How many events each projection folds: of aircraft those that have a tail number, of the others all."""
    aircraft = sum(c["departures"] + c["arrivals"] + c["cancelled"] for c in reference.aircraft.values())
    return {"aircraft": aircraft, **dict.fromkeys(("airports", "carriers", "months"), reference.events)}


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar for each hop."""

    progress: Progress
    bars: Sequence[tuple[Hop, TaskID]]

    @classmethod
    def of(cls, progress: Progress, hops: Sequence[Hop]) -> "Bars":
        """New bars, all empty."""
        return cls(progress, [(hop, progress.add_task(hop.name, total=hop.total, rate="")) for hop in hops])

    def draw(self) -> None:
        """Show how far each hop is."""
        for hop, bar in self.bars:
            self.progress.update(bar, completed=hop.done, rate=f"{hop.rate:,.0f}/s" if hop.done else "")


class Size(NamedTuple):
    """How much is in the mesh: records of history, folded events of all projections."""

    history: int
    folded: int


async def _size(job: Job) -> Size:
    history, now = await asyncio.gather(history_size(job.client), standing(job.client))
    return Size(history, now.total)


@dataclass(frozen=True, slots=True)
class _Watch:
    job: Job
    hops: Hops
    before: Size
    expected: Mapping[str, int]
    bars: Bars

    async def until_visible(self) -> None:
        """Until the views show everything. Raises Unavailable when nothing moves any more."""
        while not await self._look():
            if time.monotonic() - self.hops.changed > STALL_SECONDS:
                stand = ", ".join(f"{hop.name} {hop.done:,} of {hop.total:,}" for hop in self.hops.all())
                raise Unavailable(
                    f"no event has moved for {STALL_SECONDS:.0f} s: {stand}; see the logs of the services"
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> bool:
        size, now = await asyncio.gather(history_size(self.job.client), standing(self.job.client))
        visible = now.caught_up and all(now.folded.get(name, 0) >= count for name, count in self.expected.items())
        # Markers of transactions are in the size, too: it would reach the total a little before the last event is there.
        most = self.hops.appended.total - (0 if visible else 1)
        self.hops.appended.reached(min(size - self.before.history, most))
        self.hops.folded.reached(min(now.total - self.before.folded, self.hops.folded.total))
        self.bars.draw()
        return visible


def _progress(job: Job) -> Progress:
    return Progress(
        TextColumn("  {task.description:9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=job.screen,
        transient=True,
    )
