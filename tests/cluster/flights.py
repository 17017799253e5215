# SPDX-License-Identifier: Apache-2.0
"""January's flights through the pods: its first days at full speed, the others as the traffic, and all totals in the end.

What is loaded and compared, and what it is compared with, are the demo's own (`flights.demo`, `flights.reference`).
"""

import asyncio
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

import nerv
from flights.data import data_folder, events_in_order, load_flights
from flights.demo import loading, reporting, travelling
from flights.demo.comparing import compare
from flights.demo.hops import standing
from flights.demo.job import Job
from flights.demo.publishing import publish_all
from flights.events import FLIGHT_TOPIC
from flights.reference import Reference, count_flights
from nerv.errors import NotFound, Unavailable
from nerv.types import Event
from tests.cluster.kubernetes import until

MONTH = (1,)
LAST_DAY = 31
FIRST_SHARE = 3  # a third of the days is loaded at full speed
VISIBLE_SECONDS = 240.0
TEST_TAIL, TEST_AIRPORT, TEST_CARRIER = "N0TEST", "ZZZ", "ZZ"  # as in values.yaml
SOURCES = ("planes", "airlines", "airports")


class Flights:
    """The days that are flown, of which the first are `before` the traffic."""

    def __init__(self, client: nerv.Client, screen: Console, scale: float) -> None:
        days = range(1, max(2, round(LAST_DAY * scale)) + 1)
        self._split = days[: max(1, len(days) // FIRST_SHARE)]
        self._days = days
        self._client, self._screen, self._data = client, screen, data_folder()

    async def registers(self) -> None:
        """Planes, airlines and airports into their streams. Raises Unavailable when one is not done."""
        for source in SOURCES:
            run = await self._client.syncs.run(source)
            if run["status"] != "done":
                raise Unavailable(f"the sync of {source} is {run['status']}: {run.get('problems')}")
            self._screen.print(f"  {source}: {run['summary']}")

    async def first(self, *, compare: bool) -> list[str]:
        """Load the first days, and wait until all of them is visible; answers what went wrong.

        To compare makes sense where no other days have been loaded before.
        """
        job = await self._job(self._split)
        await loading.load(job)
        return [*job.problems, *(await self._compared(job) if compare else ())]

    async def others(self) -> Sequence[Event[bytes]]:
        """The events of the other days in order of time."""
        days = self._days[len(self._split) :]
        return await asyncio.to_thread(lambda: list(events_in_order(load_flights(self._data, MONTH, days))))

    async def publish(self, events: Sequence[Event[bytes]]) -> None:
        """What the traffic has left over."""
        await publish_all(
            lambda batch: self._client.topics.publish(FLIGHT_TOPIC, batch), iter(events), lambda count: None
        )

    async def totals(self) -> tuple[int, list[str]]:
        """Every total of all days against the file, the report and the past; answers how many flights, and what differs."""
        job = await self._job(self._days)
        expected = loading.expected_folds(job.reference)

        async def visible() -> bool:
            now = await standing(self._client)
            return now.caught_up and all(now.folded.get(name, 0) >= count for name, count in expected.items())

        await until("that every view shows every flight", visible, VISIBLE_SECONDS)
        different = await self._compared(job)
        await reporting.report(job)
        if len(self._days) == LAST_DAY:
            await travelling.travel(job)
        return job.reference.flights, [*different, *job.problems]

    async def _compared(self, job: Job) -> list[str]:
        await self._count_tests(job.reference)
        found = await compare(self._client, job.reference)
        compared = ", ".join(f"{count:,} {what}" for what, count in found.compared.items())
        self._screen.print(
            f"  {job.reference.flights:,} flights, {job.reference.events:,} events; compared with the file: {compared}; "
            f"{len(found.differences)} differ"
        )
        return found.differences

    async def _count_tests(self, reference: Reference) -> None:
        """What `helm test` has published is in no file: one flight that was cancelled, each time that it ran."""
        try:
            times = int((await self._client.views.get("aircraft", TEST_TAIL))["version"])
        except NotFound:
            return
        for counts in (
            reference.aircraft[TEST_TAIL],
            reference.airports[TEST_AIRPORT],
            reference.carriers[TEST_CARRIER],
            reference.months[f"2013-01 {TEST_CARRIER}"],
        ):
            counts["cancelled"] += times
        reference.events += times

    async def _job(self, days: Collection[int]) -> Job:
        reference = await asyncio.to_thread(count_flights, self._data / "flights.csv.zip", MONTH, days)
        return Job(self._client, self._screen, self._data, Path(), MONTH, days, reference)
