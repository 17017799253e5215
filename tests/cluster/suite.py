# SPDX-License-Identifier: Apache-2.0
"""The parts of the run in their order, and what must hold at its end."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

import nerv
from nerv.client.client import SERVICES
from tests.cluster.disturbing import HTTP_PORT, Disturber
from tests.cluster.flights import Flights
from tests.cluster.phases import Book
from tests.cluster.release import NAME, Release
from tests.cluster.traffic import Traffic, Watched
from tests.cluster.watching import watched
from tests.faults.verdict import Invariant

PARTS = ("scale", "kill", "upgrade", "broken")
DISTURBANCES = ("scale", "kill", "upgrade", "roll back")  # how the names of their phases begin


@dataclass
class Suite:
    """A release that is installed, and what is done to it: `parts` of PARTS, on a month that is `scale`d.

    It is `fresh` when nothing was published to it before.
    """

    release: Release
    book: Book
    screen: Console
    scale: float
    parts: Collection[str]
    fresh: bool

    async def run(self) -> list[Invariant]:
        """Everything; answers what held."""
        urls = await self._urls()
        async with nerv.Client(urls, token=self.release.token) as client:
            flights = Flights(client, self.screen, self.scale)
            with self.book.step("helm test"):
                self.screen.print((await self.release.test()).strip(), markup=False, highlight=False, style="dim")
            with self.book.step("sync the registers"):
                await flights.registers()
            with self.book.step("load the first days"):
                problems = await flights.first(compare=self.fresh)
            transport = Watched(urls, self.release.token, self.book)
            traffic = Traffic(transport, await flights.others())
            await transport.open()
            try:
                await self._disturb(traffic, urls)
                with self.book.step("load the rest, compare all totals"):
                    await flights.publish(traffic.publisher.rest)
                    flown, different = await flights.totals()
                return self._held(traffic, await traffic.appender.check(), flown, [*problems, *different])
            finally:
                await transport.close()

    async def _disturb(self, traffic: Traffic, urls: Mapping[str, str]) -> None:
        disturber = Disturber(self.release, self.book.step)
        async with watched(self.release.kubernetes, urls, self.release.token, self.book), traffic.flowing():
            await self._all_parts(disturber)

    async def _all_parts(self, disturber: Disturber) -> None:
        await disturber.nothing()
        if "scale" in self.parts:
            for service in SERVICES:
                await disturber.scale(service)
        if "kill" in self.parts:
            for service in SERVICES:
                await disturber.kill(service)
        if "upgrade" in self.parts:
            await disturber.upgrade("2")
        if "broken" in self.parts:
            await disturber.upgrade_in_vain("2" if "upgrade" in self.parts else "1")

    async def _urls(self) -> dict[str, str]:
        services = {item["metadata"]["name"]: item["spec"] for item in await self.release.kubernetes.get("services")}
        return {name: f"http://{services[f'{NAME}-{name}']['clusterIP']}:{HTTP_PORT}" for name in SERVICES}

    def _held(self, traffic: Traffic, appended: int, flown: int, different: Sequence[str]) -> list[Invariant]:
        faults = sum(phase.name.startswith(DISTURBANCES) for phase in self.book.phases)
        vacuous = "" if faults else "nothing was done to it"
        lost = traffic.appender.violations
        found = [
            Invariant("cluster.flights", flown, faults, different, vacuous),
            Invariant("cluster.history", appended, faults, lost, vacuous if appended else "nothing was appended"),
        ]
        for visitor in traffic.visitors:
            if visitor is not traffic.appender:
                idle = vacuous if visitor.done else "it came to no end"
                found.append(Invariant(f"cluster.{visitor.name}", visitor.done, faults, visitor.violations, idle))
        return found
